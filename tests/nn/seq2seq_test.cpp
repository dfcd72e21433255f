// Encoder-decoder models against transformers; fixtures by tests/parity/make_seq2seq.py and make_seq2seq_families.py.
#include "rft/nn/seq2seq.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "rft/nn/weights_lora.h"
#include "rft/ops/linear_logp.h"
#include "support.h"

namespace rft::seq2seq_test {
namespace {

using nlohmann::json;

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/seq2seq/" + name); }
std::string config_of(const std::string& name) { return testing::read_file(directory_of(name) + "/config.json"); }

std::unique_ptr<Seq2Seq> load(const std::string& name, const std::string& config, at::ScalarType dtype = at::kDouble,
                              const std::map<std::string, Tensor>& more = {}) {
  auto tensors = load_hf_tensors(directory_of(name));
  for (const auto& [key, value] : more) tensors[key] = value;
  return make_seq2seq(config, WeightSource(tensors, dtype, name), name);
}

/// The fixture's prompts, each with two answers.
struct Case {
  Seq2SeqRows rows;
  Tensor target;

  explicit Case(const std::string& name) {
    auto given = json::parse(testing::read_file(directory_of(name) + "/cases.json"));
    const int64_t start = json::parse(config_of(name)).at("decoder_start_token_id");
    std::vector<int64_t> prompts, inputs, targets;
    for (const auto& row : given["rows"]) {
      auto ids = row["prompt_ids"].get<std::vector<int64_t>>();
      prompts.insert(prompts.end(), ids.begin(), ids.end());
      rows.prompts.lengths.push_back(static_cast<int64_t>(ids.size())), rows.samples.push_back(2);
    }
    for (const auto& row : given["answers"]) {
      auto ids = row.get<std::vector<int64_t>>();
      targets.insert(targets.end(), ids.begin(), ids.end());
      inputs.push_back(start), inputs.insert(inputs.end(), ids.begin(), ids.end() - 1);
      rows.answers.lengths.push_back(static_cast<int64_t>(ids.size()));
    }
    rows.prompts.ids = at::tensor(prompts, at::kLong), rows.answers.ids = at::tensor(inputs, at::kLong);
    target = at::tensor(targets, at::kLong);
  }
};

double apart(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

class T5Seq2Seq : public ::testing::TestWithParam<const char*> {};
class Seq2SeqFamilies : public ::testing::TestWithParam<const char*> {};

void compare(const std::string& name, at::ScalarType dtype, double tolerance) {
  auto given = load_safetensors(directory_of(name) + "/case.safetensors").tensors;
  auto model = load(name, config_of(name), dtype);
  std::map<std::string, Tensor> weights(model->weights().tensors.begin(), model->weights().tensors.end());
  for (auto& [key, value] : weights) value.requires_grad_(true);
  const Case c(name);
  Tensor hidden = model->forward(c.rows);
  EXPECT_LE(apart(hidden, given.at("hidden")), tolerance);
  auto judged = ops::linear_logp(hidden, model->head(), c.target, 0.7, true);
  EXPECT_LE(apart(judged.logp, given.at("logp")), tolerance);
  EXPECT_LE(apart(judged.entropy, given.at("entropy")), tolerance);
  auto weight = at::linspace(0.5, 1.5, c.target.numel(), judged.logp.options());
  judged.logp.mul(weight).add(judged.entropy, 0.3).sum().backward();
  size_t compared = 0;
  for (const auto& [key, value] : given)
    if (key.starts_with("grad.")) {
      EXPECT_LE(apart(weights.at(key.substr(5)).grad(), value), tolerance * (1 + value.abs().max().item<double>()))
          << key;
      ++compared;
    }
  EXPECT_EQ(compared, weights.size() - model->weights().buffers.size());
}

TEST_P(Seq2SeqFamilies, GivesTransformersValuesAndEveryGradientInFloat64) { compare(GetParam(), at::kDouble, 1e-9); }
TEST_P(Seq2SeqFamilies, AndInFloat32) { compare(GetParam(), at::kFloat, 2e-4); }

/// PEFT's adapters on v1_1, read from its files.
std::pair<std::unique_ptr<Seq2Seq>, LoraConfig> adapted(at::ScalarType dtype) {
  const std::string file = directory_of("v1_1_lora") + "/adapter_config.json";
  auto model = load("v1_1", config_of("v1_1"), dtype);
  LoraConfig config = lora_config(testing::read_file(file), file);
  Weights weights = model->weights();
  add_peft_lora(weights, config, 0);
  load_peft_tensors(weights, load_safetensors(directory_of("v1_1_lora") + "/adapter_model.safetensors").tensors,
                    "file");
  return {std::move(model), config};
}

TEST(T5Lora, GivesPeftsValuesAndGradientsAndNoneForTheBase) {
  auto given = load_safetensors(directory_of("v1_1_lora") + "/case.safetensors").tensors;
  auto [model, config] = adapted(at::kDouble);
  const Case c("v1_1");
  auto judged = ops::linear_logp(model->forward(c.rows), model->head(), c.target, 0.7, true);
  EXPECT_LE(apart(judged.logp, given.at("logp")), 1e-9);
  auto weight = at::linspace(0.5, 1.5, c.target.numel(), judged.logp.options());
  judged.logp.mul(weight).add(judged.entropy, 0.3).sum().backward();
  std::map<std::string, Tensor> gradients;
  for (const NamedLinear& layer : model->weights().linears)
    for (const Adapter& adapter : layer.linear->adapters) {
      gradients["grad.base_model.model." + adapter.module + ".lora_A.weight"] = adapter.a.grad();
      gradients["grad.base_model.model." + adapter.module + ".lora_B.weight"] = adapter.b.grad();
    }
  EXPECT_EQ(gradients.size(), given.size() - 1);
  for (const auto& [key, value] : gradients)
    EXPECT_LE(apart(value, given.at(key)), 1e-9 * (1 + value.abs().max().item<double>())) << key;
  for (const auto& [name, value] : model->weights().tensors) EXPECT_FALSE(value.requires_grad()) << name;
}

TEST(T5Lora, WritesWhatItReadAndMerges) {
  auto [model, config] = adapted(at::kDouble);
  auto read = load_safetensors(directory_of("v1_1_lora") + "/adapter_model.safetensors").tensors;
  auto written = peft_tensors(model->weights());
  ASSERT_EQ(written.size(), read.size());
  for (const auto& [name, value] : read) EXPECT_TRUE(written.at(name).equal(value.to(at::kDouble))) << name;
  auto ours = json::parse(peft_config_json(model->weights(), config, "v1_1", "SEQ_2_SEQ_LM"));
  auto theirs = json::parse(testing::read_file(directory_of("v1_1_lora") + "/adapter_config.json"));
  auto targets = theirs["target_modules"].get<std::set<std::string>>();  // in no order
  EXPECT_EQ(ours["target_modules"].get<std::set<std::string>>(), targets);
  ours.erase("target_modules");
  for (const auto& [name, value] : ours.items()) EXPECT_EQ(value, theirs[name]) << name;

  const at::NoGradGuard no_grad;
  const Case c("v1_1");
  const Tensor before = model->forward(c.rows);
  Weights weights = model->weights();
  merge_lora(weights);
  EXPECT_LE(apart(model->forward(c.rows), before), 1e-11);
  for (const NamedLinear& layer : weights.linears) EXPECT_TRUE(layer.linear->adapters.empty());
}

TEST(T5Lora, SaysWhatCanHaveAdapters) {
  auto model = load("v1_1", config_of("v1_1"));
  Weights weights = model->weights();
  LoraConfig config;
  config.target_modules = {"lm_head"};
  EXPECT_NE(testing::message_of([&] { add_peft_lora(weights, config, 0); }).find("head can't have adapters"),
            std::string::npos);
  config.target_modules = {}, config.modules_to_save = {"shared"};
  EXPECT_NE(testing::message_of([&] { add_peft_lora(weights, config, 0); }).find("modules_to_save"), std::string::npos);
}

TEST_P(Seq2SeqFamilies, StepByStepIsTheWholeAndRowsMayLeave) {
  const at::NoGradGuard no_grad;
  auto model = load(GetParam(), config_of(GetParam()));
  const Case c(GetParam());
  const Tensor whole = model->forward(c.rows);
  std::vector<int64_t> start{0}, lengths = c.rows.answers.lengths, live;
  for (int64_t length : lengths)
    live.push_back(static_cast<int64_t>(live.size())), start.push_back(start.back() + length);
  auto decoding = model->decode(model->read(c.rows.prompts), c.rows.samples);
  for (int64_t t = 0; !live.empty(); ++t) {
    std::vector<int64_t> cells, kept, left;
    for (int64_t b : live) cells.push_back(start[static_cast<size_t>(b)] + t);
    const Tensor index = at::tensor(cells, at::kLong);
    EXPECT_LE(apart(decoding->step(c.rows.answers.ids.index_select(0, index)), whole.index_select(0, index)), 1e-12);
    for (size_t i = 0; i < live.size(); ++i)
      if (t + 1 < lengths[static_cast<size_t>(live[i])])
        kept.push_back(static_cast<int64_t>(i)), left.push_back(live[i]);
    if (left.size() < live.size() && !left.empty()) decoding->keep(kept);
    live = left;
  }
}

TEST_P(T5Seq2Seq, TheCacheGrows) {
  const at::NoGradGuard no_grad;
  auto model = load(GetParam(), config_of(GetParam()));
  Seq2SeqRows rows;
  rows.prompts = {at::arange(3, 12, at::kLong), {9}}, rows.samples = {1};
  rows.answers = {at::arange(150, at::kLong).remainder(67), {150}};
  const Tensor whole = model->forward(rows);
  auto decoding = model->decode(model->read(rows.prompts), {1});
  for (int64_t t = 0; t < 150; ++t)
    ASSERT_LE(apart(decoding->step(rows.answers.ids.narrow(0, t, 1)), whole.narrow(0, t, 1)), 1e-11) << t;
}

TEST_P(T5Seq2Seq, AnUntrainedOneHasTransformersTensorsAndDeviations) {
  auto given = load_hf_tensors(directory_of(GetParam()));
  auto config = json::parse(config_of(GetParam()));
  config["tie_word_embeddings"] = std::string(GetParam()) == "v1_0";
  auto model = random_t5(config.dump(), at::kFloat, 1);
  EXPECT_EQ(model->weights().tensors.size(), given.size());
  for (const auto& [name, value] : model->weights().tensors) {
    ASSERT_TRUE(given.contains(name)) << name;
    EXPECT_EQ(value.sizes(), given.at(name).sizes()) << name;
    const double width = 12, q = 1 / std::sqrt(width * 4);
    if (name == "shared.weight") EXPECT_NEAR(value.std().item<double>(), 1, 0.15);
    if (name == "encoder.block.0.layer.0.SelfAttention.q.weight") EXPECT_NEAR(value.std().item<double>(), q, 0.15 * q);
  }
}

INSTANTIATE_TEST_SUITE_P(All, T5Seq2Seq, ::testing::Values("v1_0", "v1_1"));
INSTANTIATE_TEST_SUITE_P(All, Seq2SeqFamilies,
                         ::testing::Values("v1_0", "v1_1", "mt5", "umt5", "bart", "mbart", "pegasus"));

TEST(Bart, IsReadAsOlderFilesHaveIt) {
  const at::NoGradGuard no_grad;
  const Case c("pegasus");
  auto tensors = load_hf_tensors(directory_of("pegasus"));
  const Tensor whole = load("pegasus", config_of("pegasus"))->forward(c.rows);
  // Without the tables that follow from config.json, and with the embedding under a side's name alone.
  for (const char* name : {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight"})
    EXPECT_EQ(tensors.erase(name), 1u);
  auto shared = tensors.extract("model.shared.weight");
  shared.key() = "model.encoder.embed_tokens.weight";
  tensors.insert(std::move(shared));
  auto model = make_seq2seq(config_of("pegasus"), WeightSource(tensors, at::kDouble, "older"), "older");
  EXPECT_LE(apart(model->forward(c.rows), whole), 1e-6);  // the tables were float32
  auto config = json::parse(config_of("pegasus"));
  config["normalize_before"] = true, config["normalize_embedding"] = false, config["static_position_embeddings"] = true;
  EXPECT_LE(apart(load("pegasus", config.dump())->forward(c.rows), whole), 1e-12);
  config["normalize_before"] = false;
  EXPECT_NE(testing::message_of([&] { load("pegasus", config.dump()); }).find("normalize_before"), std::string::npos);
}

TEST(Bart, SaysWhatItDoesNotCompute) {
  const Tensor bias = at::zeros({1, 70});
  bias[0][3] = 0.5;
  auto refused = [](const std::function<void()>& what) { return testing::message_of(what); };
  EXPECT_NE(refused([&] {
              load("bart", config_of("bart"), at::kDouble, {{"final_logits_bias", bias}});
            }).find("final_logits_bias"),
            std::string::npos);
  const Tensor other = at::zeros({70, 12});
  EXPECT_NE(refused([&] {
              load("bart", config_of("bart"), at::kDouble, {{"model.decoder.embed_tokens.weight", other}});
            }).find("embeddings of its own"),
            std::string::npos);
  auto config = json::parse(config_of("mbart"));
  config.erase("decoder_start_token_id");
  EXPECT_NE(refused([&] { load("mbart", config.dump()); }).find("decoder_start_token_id"), std::string::npos);
  Seq2SeqRows rows;
  rows.prompts = {at::arange(3, 52, at::kLong), {49}}, rows.answers = {at::tensor({2}, at::kLong), {1}};
  rows.samples = {1};
  EXPECT_NE(testing::message_of<RunError>([&] { load("bart", config_of("bart"))->forward(rows); }).find("at most 48"),
            std::string::npos);
}

TEST(Seq2Seq, TheHeadIsWhatTheDirectoryHas) {
  auto shared = load_hf_tensors(directory_of("v1_0")).at("shared.weight");
  auto tied = load("v1_0", config_of("v1_0"));
  EXPECT_TRUE(tied->head().is_same(tied->weights().tensors[0].second));
  auto twice = load("v1_0", config_of("v1_0"), at::kDouble,
                    {{"lm_head.weight", shared}, {"decoder.embed_tokens.weight", shared}});
  EXPECT_EQ(twice->weights().tensors.size(), tied->weights().tensors.size());
  auto own = load("v1_0", config_of("v1_0"), at::kDouble, {{"lm_head.weight", shared.add(1)}});
  EXPECT_EQ(own->weights().tensors.size(), tied->weights().tensors.size() + 1);
  EXPECT_LE(apart(own->head(), shared.add(1)), 1e-12);
}

TEST(Seq2Seq, AnOlderConfigScalesWhereTheHeadIsTied) {
  const at::NoGradGuard no_grad;
  const Case c("v1_0");
  auto config = json::parse(config_of("v1_0"));
  auto today = load("v1_0", config.dump())->forward(c.rows);
  config.erase("scale_decoder_outputs");
  EXPECT_TRUE(load("v1_0", config.dump())->forward(c.rows).equal(today));
  config["scale_decoder_outputs"] = false;
  EXPECT_LE(apart(load("v1_0", config.dump())->forward(c.rows).div(std::sqrt(12.0)), today), 1e-12);
}

TEST(Seq2Seq, BadInputIsNamed) {
  auto changed = [](const std::string& key, const json& value) {
    auto config = json::parse(config_of("v1_0"));
    config[key] = value;
    return testing::message_of([&] { load("v1_0", config.dump()); });
  };
  EXPECT_NE(changed("mystery", 1).find("mystery"), std::string::npos);
  EXPECT_NE(changed("decoder_start_token_id", nullptr).find("decoder_start_token_id"), std::string::npos);
  EXPECT_NE(changed("decoder_start_token_id", 70).find("0 .. 69"), std::string::npos);
  EXPECT_NE(changed("relative_attention_max_distance", 4).find("relative_attention_max_distance"), std::string::npos);
  EXPECT_NE(changed("num_decoder_layers", 0).find("at least 1"), std::string::npos);
  EXPECT_NE(changed("num_decoder_layers", 3).find("decoder.block.2.layer.0.SelfAttention.q.weight"), std::string::npos);
  EXPECT_NE(changed("tie_word_embeddings", false).find("lm_head.weight"), std::string::npos);
  EXPECT_NE(changed("architectures", {"T5ForConditionalGeneratio"}).find("T5ForConditionalGeneration"),
            std::string::npos);
  auto other = load_hf_tensors(directory_of("v1_0")).at("shared.weight").add(1);
  EXPECT_NE(testing::message_of([&] {
              load("v1_0", config_of("v1_0"), at::kDouble, {{"decoder.embed_tokens.weight", other}});
            }).find("decoder.embed_tokens.weight"),
            std::string::npos);
  auto model = load("v1_0", config_of("v1_0"));
  EXPECT_NE(testing::message_of([&] {
              model->read({at::full({2}, 70, at::kLong), {2}});
            }).find("0 .. 69"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::seq2seq_test
