#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "decoder_fixtures.h"
#include "rft/io/safetensors.h"

namespace rft::lora_test {
namespace {

using namespace testing;

/// Adapters that tests/parity/make_decoders.py wrote with peft.
class EachAdapter : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Lora, EachAdapter,
                         ::testing::Values("qwen2_tied_lora_qv", "llama_biases_lora_all", "gpt2_lora_c_attn",
                                           "gpt2_lora_all", "gpt2_dora", "llama_biases_dora",
                                           "qwen2_tied_lora_patterns", "qwen2_tied_whole_embedding",
                                           "qwen3_whole_head_norms", "gpt2_whole_both"),
                         [](const auto& info) { return info.param; });

LoraConfig lora(int64_t rank, double alpha = 32, std::vector<std::string> targets = {}) {
  LoraConfig config;
  config.rank = rank, config.alpha = alpha, config.target_modules = std::move(targets);
  return config;
}

/// What peft wrote into adapter_config.json.
LoraConfig config_of_adapter(const std::string& name) {
  std::string file = decoder_path(name) + "/adapter_config.json";
  return lora_config(read_file(file), file);
}

std::string base_of(const std::string& name) { return read_json(decoder_path(name) + "/expected.json")["base"]; }

std::map<std::string, Tensor> adapter_tensors(const std::string& name) {
  return load_safetensors(decoder_path(name) + "/adapter_model.safetensors").tensors;
}

Decoder adapted(const std::string& name, at::ScalarType dtype) {
  auto decoder = load_decoder(base_of(name), dtype);
  add_lora(decoder, config_of_adapter(name), 0);
  load_peft_tensors(decoder, adapter_tensors(name), name);
  return decoder;
}

std::vector<Adapter> adapters_of(const Decoder& decoder) {
  std::vector<Adapter> out;
  for (const DecoderLayer& layer : decoder.weights().layers)
    for (const Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      out.insert(out.end(), linear->adapters.begin(), linear->adapters.end());
  return out;
}

std::set<std::string> modules_with(const std::string& base, const std::vector<std::string>& targets) {
  auto decoder = load_decoder(base, at::kFloat);
  add_lora(decoder, lora(2, 4, targets), 0);
  std::set<std::string> out;
  for (const Adapter& adapter : adapters_of(decoder)) out.insert(adapter.module);
  return out;
}

TEST_P(EachAdapter, GivesPeftsLogProbabilities) {
  auto expected = expected_of(GetParam());
  EXPECT_LT(largest_difference(log_probabilities(adapted(GetParam(), at::kDouble), expected.rows), expected.logp64),
            1e-9);
  EXPECT_LT(largest_difference(log_probabilities(adapted(GetParam(), at::kFloat), expected.rows), expected.logp32),
            2e-4);
}

TEST_P(EachAdapter, GivesPeftsGradientsAndNoneForTheBase) {
  auto expected = expected_of(GetParam());
  auto decoder = adapted(GetParam(), at::kDouble);
  log_probabilities(decoder, expected.rows).mean().neg().backward();
  auto adapters = adapters_of(decoder);
  size_t checked = 0;
  auto expect_gradient = [&](const std::string& name, const Tensor& value) {
    expect_projections(projections(value.grad()), expected.gradients.at(name), 1e-9, name);
    ++checked;
  };
  for (const Adapter& adapter : adapters) {
    std::string at = "base_model.model." + adapter.module + ".lora_";
    expect_gradient(at + "A.weight", adapter.a);
    expect_gradient(at + "B.weight", adapter.b);
    if (adapter.magnitude.defined()) expect_gradient(at + "magnitude_vector.weight", adapter.magnitude);
  }
  for (const auto& [name, value] : decoder.whole_tensors()) expect_gradient("base_model.model." + name, value);
  EXPECT_EQ(checked, expected.gradients.size());
  for (const auto& [name, value] : decoder.weights(false).named()) EXPECT_FALSE(value.requires_grad()) << name;
}

TEST_P(EachAdapter, GivesBitwiseTheSameGradientsWithCheckpointing) {
  auto rows = expected_of(GetParam()).rows;
  auto gradients = [&](bool checkpoint) {
    auto decoder = adapted(GetParam(), at::kFloat);
    log_probabilities(decoder, rows, {.checkpoint = checkpoint}).mean().backward();
    std::vector<Tensor> out;
    for (const Adapter& adapter : adapters_of(decoder))
      out.push_back(adapter.a.grad()), out.push_back(adapter.b.grad());
    return out;
  };
  auto plain = gradients(false), recomputed = gradients(true);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(plain[i].equal(recomputed[i])) << i;
}

TEST_P(EachAdapter, IsTheBaseModelWhereAdaptersAreOff) {
  auto rows = expected_of(GetParam()).rows;
  auto base = log_probabilities(load_decoder(base_of(GetParam()), at::kFloat), rows);
  EXPECT_TRUE(log_probabilities(adapted(GetParam(), at::kFloat), rows, {.adapters = false}).equal(base));
}

TEST_P(EachAdapter, WritesTheTensorsItRead) {
  auto written = peft_tensors(adapted(GetParam(), at::kFloat));
  auto read = adapter_tensors(GetParam());
  ASSERT_EQ(written.size(), read.size());
  for (const auto& [name, value] : read) EXPECT_TRUE(written.at(name).equal(value)) << name;
}

TEST_P(EachAdapter, WritesTheFieldsThatPeftWrote) {
  auto config = config_of_adapter(GetParam());
  auto theirs = read_json(decoder_path(GetParam()) + "/adapter_config.json");
  auto ours = nlohmann::json::parse(peft_config_json(adapted(GetParam(), at::kFloat), config, base_of(GetParam())));
  auto sorted = [](nlohmann::json targets) {  // a set to PEFT: in no order
    if (targets.is_array()) std::sort(targets.begin(), targets.end());
    return targets;
  };
  EXPECT_EQ(sorted(ours["target_modules"]), sorted(theirs["target_modules"]));
  ours.erase("target_modules");
  for (const auto& [name, value] : ours.items()) EXPECT_EQ(value, theirs[name]) << name;
}

TEST_P(EachAdapter, IsTheSameModelWhenMerged) {
  auto rows = expected_of(GetParam()).rows;
  auto decoder = adapted(GetParam(), at::kDouble);
  auto before = log_probabilities(decoder, rows);
  merge_lora(decoder);
  EXPECT_TRUE(adapters_of(decoder).empty());
  EXPECT_LT(largest_difference(log_probabilities(decoder, rows), before), 1e-11);
  EXPECT_GT(largest_difference(log_probabilities(load_decoder(base_of(GetParam()), at::kDouble), rows), before), 1e-3);
}

TEST(Lora, HasTheBasesLengthsOfRowsAtFirstWithDora) {
  auto decoder = load_decoder("llama_biases", at::kDouble);
  TokenRows rows = {{3, 1, 4, 1, 5}};
  auto base = log_probabilities(decoder, rows);
  auto config = lora(4, 8);
  config.dora = true;
  add_lora(decoder, config, 3);
  EXPECT_LT(largest_difference(log_probabilities(decoder, rows), base), 1e-12);
  for (const Adapter& adapter : adapters_of(decoder)) EXPECT_TRUE(adapter.magnitude.requires_grad());
}

TEST(Lora, SaysWhatIsWrongWithAPattern) {
  auto refused = [](auto change) {
    return message_of([&] {
      auto decoder = load_decoder("qwen2_tied", at::kFloat);
      LoraConfig config = lora(2);
      change(config);
      add_lora(decoder, config, 0);
    });
  };
  EXPECT_EQ(
      refused([](LoraConfig& c) { c.target_regex = "q_proj"; }),
      "[lora.target_regex] must match the whole path of a linear layer of the model (its head can't have adapters), "
      "such as 'model.layers.0.self_attn.q_proj'; got 'q_proj'");
  EXPECT_EQ(refused([](LoraConfig& c) { c.target_regex = "(q_proj"; }),
            "[lora.target_regex] '(q_proj' is no regular expression: missing closing parenthesis at character 7");
  EXPECT_NE(refused([](LoraConfig& c) {
              c.target_regex = "(.+.+)+[!?]";
            }).find("can't be matched with 'model.layers.0.self_attn.q_proj': [regex] match limit exceeded"),
            std::string::npos);
  EXPECT_EQ(refused([](LoraConfig& c) {
              c.rank_pattern = {{"q_proj", 2.5}};
            }),
            "[lora.rank_pattern] ranks must be whole numbers from 1; got 2.5 for 'q_proj'");
}

TEST(Lora, TakesTheFirstPatternThatMatches) {
  auto decoder = load_decoder("qwen2_tied", at::kFloat);
  LoraConfig config = lora(2, 8, {"q_proj", "k_proj"});
  config.rank_pattern = {{"layers\\.1\\..*", 4}, {"q_proj", 1}};
  config.alpha_pattern = {{"^model\\.layers\\.0\\.self_attn\\.k_proj", 1}};
  add_lora(decoder, config, 0);
  std::map<std::string, std::pair<int64_t, double>> sizes;
  for (const Adapter& adapter : adapters_of(decoder)) sizes[adapter.module] = {adapter.a.size(0), adapter.scale};
  using Sizes = decltype(sizes);
  EXPECT_EQ(sizes, (Sizes{{"model.layers.0.self_attn.k_proj", {2, 0.5}},
                          {"model.layers.0.self_attn.q_proj", {1, 8}},
                          {"model.layers.1.self_attn.k_proj", {4, 2}},
                          {"model.layers.1.self_attn.q_proj", {4, 2}}}));
}

TEST(Lora, RefusesFieldsOfAConfigurationThatItDoesNotKnow) {
  auto text = [](const std::string& more) {
    return R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "use_new": false, )" + more +
           "}";
  };
  EXPECT_EQ(lora_config(text(R"("lora_dropout": 0.1)"), "FILE").rank, 4);
  for (const char* more : {R"("use_qalora": true)", R"("velora_config": {"a": 1})",
                           R"("modules_to_save": ["lm_head", 1])", R"("init_lora_weights": "pissa")",
                           R"("bias": "all")", R"("rank_pattern": [1])", R"("rank_pattern": {"q": "x"})", R"("r": 0)"})
    EXPECT_THROW(lora_config(text(more), "FILE"), UserError) << more;
}

TEST(Lora, SaysWhatCantBeTrainedWhole) {
  auto refused = [](std::vector<std::string> modules) {
    return message_of([&] {
      auto decoder = load_decoder("qwen2_tied", at::kFloat);
      LoraConfig config = lora(2);
      config.modules_to_save = std::move(modules);
      add_lora(decoder, config, 0);
    });
  };
  EXPECT_EQ(refused({"down_proj"}),
            "[lora.modules_to_save] 'model.layers.0.mlp.down_proj' is a linear layer of the trunk: give it an adapter "
            "(target_modules)");
  EXPECT_EQ(refused({"lm_head", "embeddings"}),
            "[lora.modules_to_save] the model has no module 'embeddings'; embeddings, head and norms can be trained "
            "whole, here model.embed_tokens, lm_head and others");
  auto decoder = load_decoder("qwen2_tied", at::kFloat);
  LoraConfig config = lora(2);
  config.modules_to_save = {"classifier", "score"};  // PEFT writes both for any classifier
  add_lora(decoder, config, 0);
  EXPECT_TRUE(decoder.whole_tensors().empty());
}

TEST(Lora, GivesATiedHeadATensorOfItsOwnWhenMerged) {
  auto rows = expected_of("qwen2_tied_whole_embedding").rows;
  auto decoder = adapted("qwen2_tied_whole_embedding", at::kDouble);
  auto before = log_probabilities(decoder, rows);
  merge_lora(decoder);
  auto read = Decoder(DecoderConfig::from_json(decoder.config().json, "FILE"), decoder.hugging_face_tensors(),
                      at::kDouble, "written");
  EXPECT_FALSE(read.config().tied_head);
  EXPECT_LT(largest_difference(log_probabilities(read, rows), before), 1e-11);
}

TEST(Lora, StartsAsTheBaseModelWithPeftsFirstWeights) {
  auto decoder = load_decoder("qwen2_tied", at::kFloat);
  TokenRows rows = {{3, 1, 4, 1, 5}};
  auto base = log_probabilities(decoder, rows);
  add_lora(decoder, lora(8, 16), 7);
  EXPECT_TRUE(log_probabilities(decoder, rows).equal(base));
  for (const Adapter& adapter : adapters_of(decoder)) {
    double bound = 1 / std::sqrt(static_cast<double>(adapter.a.size(1)));
    EXPECT_LE(adapter.a.abs().max().item<double>(), bound) << adapter.module;
    EXPECT_NEAR(adapter.a.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound) << adapter.module;
    EXPECT_TRUE(adapter.b.equal(at::zeros_like(adapter.b))) << adapter.module;
    EXPECT_TRUE(adapter.a.requires_grad() && adapter.b.requires_grad());
    EXPECT_EQ(adapter.scale, 2);
  }
}

TEST(Lora, DrawsAModulesFirstWeightsFromTheSeedWhateverTheOtherTargets) {
  auto first = [](std::vector<std::string> targets, uint64_t seed) {
    auto decoder = load_decoder("qwen2_tied", at::kFloat);
    add_lora(decoder, lora(2, 4, targets), seed);
    return peft_tensors(decoder).at("base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight");
  };
  EXPECT_TRUE(first({"v_proj"}, 5).equal(first({}, 5)));
  EXPECT_FALSE(first({"v_proj"}, 5).equal(first({"v_proj"}, 6)));
}

TEST(Lora, ScalesByTheRootOfTheRankWithRslora) {
  auto decoder = load_decoder("qwen2_tied", at::kFloat);
  auto config = lora(4, 6);
  config.rslora = true;
  add_lora(decoder, config, 0);
  EXPECT_EQ(adapters_of(decoder)[0].scale, 3);
}

TEST(Lora, MatchesTargetsAsPeftDoes) {
  EXPECT_EQ(modules_with("gpt2", {"c_proj"}),
            (std::set<std::string>{"transformer.h.0.attn.c_proj", "transformer.h.0.mlp.c_proj",
                                   "transformer.h.1.attn.c_proj", "transformer.h.1.mlp.c_proj"}));
  EXPECT_EQ(modules_with("qwen2_tied", {"model.layers.1.self_attn.k_proj", "0.mlp.up_proj"}),
            (std::set<std::string>{"model.layers.1.self_attn.k_proj", "model.layers.0.mlp.up_proj"}));
  EXPECT_EQ(modules_with("qwen2_tied", {}).size(), 14u);
  EXPECT_EQ(modules_with("gpt2", {}).size(), 8u);
}

TEST(Lora, RefusesATargetThatNamesNoModule) {
  EXPECT_EQ(message_of([] {
              modules_with("qwen2_tied", {"q_proj", "v_prj"});
            }),
            "[lora.target_modules] a target must name linear layers of the model (its head can't have adapters); got "
            "'v_prj'; did you mean 'v_proj'?");
  // Parts of a name, the head and the embedding are no linear layers of their own.
  for (const char* target : {"proj", "lm_head", "embed_tokens", ""})
    EXPECT_THROW(modules_with("qwen2_tied", {target}), UserError) << target;
}

TEST(Lora, RefusesWhatItDoesNotImplement) {
  auto decoder = load_decoder("qwen2_tied", at::kFloat);
  auto dropping = lora(2);
  dropping.dropout = 0.1;
  EXPECT_THROW(add_lora(decoder, dropping, 0), UserError);
  EXPECT_THROW(add_lora(decoder, lora(0), 0), UserError);
  add_lora(decoder, lora(2, 4, {"q_proj"}), 0);
  EXPECT_THROW(add_lora(decoder, lora(2, 4, {"q_proj"}), 0), UserError);
}

TEST(Lora, NamesAllTensorsThatDoNotFitAndChangesNothing) {
  auto decoder = adapted("qwen2_tied_lora_qv", at::kFloat);
  auto before = adapter_tensors("qwen2_tied_lora_qv");
  std::string at = "base_model.model.model.layers.";
  auto tensors = before;
  for (auto& [name, value] : tensors) value = at::ones_like(value);
  tensors.erase(at + "0.self_attn.q_proj.lora_A.weight");
  tensors[at + "0.self_attn.q_proj.lora_B.weight"] = at::zeros({32, 8});
  tensors[at + "0.mlp.up_proj.lora_A.weight"] = at::zeros({4, 32});
  auto message = message_of([&] { load_peft_tensors(decoder, tensors, "FILE"); });
  EXPECT_EQ(message, "[FILE] the tensors do not fit the adapters: '" + at +
                         "0.self_attn.q_proj.lora_A.weight' is missing; '" + at +
                         "0.self_attn.q_proj.lora_B.weight' must be [32, 4], is [32, 8]; '" + at +
                         "0.mlp.up_proj.lora_A.weight' belongs to no adapter");
  for (const auto& [name, value] : peft_tensors(decoder)) EXPECT_TRUE(value.equal(before.at(name))) << name;
}

TEST(Lora, KeepsAdaptersInTheTypeOfTheBase) {
  auto decoder = load_decoder("llama_bf16", at::kBFloat16);
  add_lora(decoder, lora(2), 0);
  for (const auto& [name, value] : peft_tensors(decoder)) EXPECT_EQ(value.scalar_type(), at::kBFloat16) << name;
  EXPECT_TRUE(log_probabilities(decoder, {{1, 2, 3}}).isfinite().all().item<bool>());
}

}  // namespace
}  // namespace rft::lora_test
