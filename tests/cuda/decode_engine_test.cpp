#include "cuda/decode_engine.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>
#include <set>

#include "cuda/decode_forward.h"
#include "nn/decoder_fixtures.h"
#include "on_device.h"
#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/text/tokenizer.h"

namespace rft::cuda::decode_engine_test {
namespace {

constexpr int64_t kVocab = 90;

DecoderConfig config_of(const std::string& type) {
  const bool gpt2 = type == "gpt2";
  nlohmann::json json{{"model_type", type},
                      {"architectures",
                       {gpt2              ? "GPT2LMHeadModel"
                        : type == "qwen3" ? "Qwen3ForCausalLM"
                        : type == "qwen2" ? "Qwen2ForCausalLM"
                                          : "LlamaForCausalLM"}},
                      {"vocab_size", kVocab},
                      {"initializer_range", 0.2}};
  if (gpt2)
    json.update({{"n_positions", 256},
                 {"n_embd", 24},
                 {"n_layer", 2},
                 {"n_head", 3},
                 {"activation_function", "gelu_new"},
                 {"layer_norm_epsilon", 1e-5}});
  else
    json.update({{"max_position_embeddings", 256},
                 {"hidden_size", 32},
                 {"intermediate_size", 40},
                 {"num_hidden_layers", 2},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"head_dim", 8},
                 {"hidden_act", "silu"},
                 {"rms_norm_eps", 1e-6},
                 {"rope_theta", 10000.0},
                 {"tie_word_embeddings", type == "qwen2"}});
  return DecoderConfig::from_json(json.dump(), "test");
}

/// One model twice: for the engine, and in float32 on the CPU.
struct Models {
  Decoder here, cpu;
};
Models models_of(const DecoderConfig& config, const std::map<std::string, Tensor>& tensors, at::ScalarType type) {
  std::map<std::string, Tensor> rounded;
  for (const auto& [name, tensor] : tensors) rounded[name] = tensor.to(type);
  return {Decoder(config, rounded, at::TensorOptions().dtype(type).device(testing::device()), "test"),
          Decoder(config, rounded, at::TensorOptions().dtype(at::kFloat), "test")};
}
Models random_models(const std::string& type, at::ScalarType dtype, uint64_t seed = 1) {
  const DecoderConfig config = config_of(type);
  return models_of(config, random_decoder(config, at::kFloat, seed).hugging_face_tensors(), dtype);
}

std::vector<std::vector<int64_t>> prompts_of(const std::vector<int64_t>& lengths) {
  std::vector<std::vector<int64_t>> prompts;
  for (size_t i = 0; i < lengths.size(); ++i) {
    prompts.emplace_back();
    for (int64_t t = 0; t < lengths[i]; ++t)
      prompts.back().push_back(static_cast<int64_t>(Rng(5, i).below(static_cast<uint64_t>(t), kVocab)));
  }
  return prompts;
}

struct How {
  int64_t samples = 1, batch = 64;
  uint64_t seed = 7;
  bool greedy = false;
  const Tokenizer* tokenizer = nullptr;
  std::function<bool(int64_t, const SampledRow&, bool)> on_token = {};
};

std::vector<SampledRow> sampled(const Decoder& decoder, const std::vector<std::vector<int64_t>>& prompts,
                                SamplerOptions options, const How& how) {
  auto engine = decode_engine(decoder, how.tokenizer, how.batch);
  std::vector<std::shared_ptr<LmRequest>> requests;
  for (size_t i = 0; i < prompts.size(); ++i) {
    options.first_row = static_cast<int64_t>(i) * how.samples;
    requests.push_back(
        std::make_shared<LmRequest>(LmRequest{prompts[i], how.samples, options, how.seed, how.greedy, how.on_token}));
    engine->add(requests.back());
  }
  while (engine->step()) {
  }
  EXPECT_EQ(engine->samples_done(), static_cast<int64_t>(prompts.size()) * how.samples);
  EXPECT_FALSE(engine->step());
  std::vector<SampledRow> rows;
  int64_t tokens = 0;
  for (const auto& request : requests)
    for (const SampledRow& row : request->rows) rows.push_back(row), tokens += static_cast<int64_t>(row.ids.size());
  EXPECT_EQ(engine->tokens_sampled(), tokens);
  return rows;
}

std::vector<std::vector<int64_t>> ids_of(const std::vector<SampledRow>& rows) {
  std::vector<std::vector<int64_t>> ids;
  for (const SampledRow& row : rows) ids.push_back(row.ids);
  return ids;
}

SamplerOptions options_of(int64_t new_tokens) {
  SamplerOptions options;
  options.max_new_tokens = new_tokens, options.entropy = true;
  return options;
}

/// Compares with what the trainer computes in float32 for the same tokens.
void expect_logp_as_trained(const Decoder& cpu, const std::vector<std::vector<int64_t>>& prompts, int64_t samples,
                            const std::vector<SampledRow>& rows, double temperature, double tolerance) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<int64_t> ids = prompts[i / static_cast<size_t>(samples)];
    const auto first = static_cast<int64_t>(ids.size());
    ids.insert(ids.end(), rows[i].ids.begin(), rows[i].ids.end());
    const auto length = static_cast<int64_t>(ids.size());
    const Tensor hidden = cpu.forward({at::tensor(ids, at::kLong), {length}}, {});
    const auto want =
        ops::linear_logp(hidden.slice(0, first - 1, length - 1), cpu.weights().head, at::tensor(rows[i].ids, at::kLong),
                         temperature, true, cpu.config().logit_softcap);
    EXPECT_LT((at::tensor(rows[i].logp) - want.logp).abs().max().item<double>(), tolerance) << "row " << i;
    EXPECT_LT((at::tensor(rows[i].entropy) - want.entropy).abs().max().item<double>(), tolerance) << "row " << i;
  }
}

TEST(DecodeEngine, float32_samples_are_those_of_the_cpu) {
  const auto prompts = prompts_of({1, 3, 31, 32, 33, 70});
  for (const std::string type : {"gpt2", "qwen2", "qwen3"}) {
    SCOPED_TRACE(type);
    const Models models = random_models(type, at::kFloat);
    SamplerOptions options = options_of(20);
    options.temperature = 0.8, options.top_p = 0.95, options.eos_ids = {3, 11};
    const auto want = sample_rows(models.cpu, nullptr, prompts, 2, 7, false, options);
    const auto got = sampled(models.here, prompts, options, {2, 5});
    EXPECT_EQ(ids_of(got), ids_of(want));
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].truncated, want[i].truncated);
    expect_logp_as_trained(models.cpu, prompts, 2, got, 0.8, 2e-4);
    EXPECT_EQ(ids_of(sampled(models.here, prompts, options_of(9), {1, 3, 7, true})),
              ids_of(sample_rows(models.cpu, nullptr, prompts, 1, 7, true, options_of(9))));
  }
}

TEST(DecodeEngine, logp_is_what_the_trainer_computes_in_each_family) {
  for (const std::string name : {"mistral", "mixtral", "qwen3_moe", "gemma2", "gemma3", "phi3_longrope", "olmo2",
                                 "smollm3", "qwen3_sliding_yarn", "llama_biases"}) {
    SCOPED_TRACE(name);
    const DecoderConfig config = testing::config_of(name);
    const Models models = models_of(config, load_hf_tensors(testing::decoder_path(name)), at::kFloat);
    auto prompts = prompts_of({1, 7, config.max_positions - 21});
    for (auto& prompt : prompts)
      for (int64_t& id : prompt) id %= config.vocab_size;
    expect_logp_as_trained(models.cpu, prompts, 2, sampled(models.here, prompts, options_of(19), {2, 4}), 1, 3e-4);
  }
}

TEST(DecodeEngine, bfloat16_is_near_the_trainer_through_both_passes) {
  const auto prompts = prompts_of({1, 33, 40});
  for (const std::string type : {"gpt2", "qwen2", "qwen3"}) {
    SCOPED_TRACE(type);
    const Models models = random_models(type, at::kBFloat16);
    EXPECT_EQ(fused_forward(models.here, 4) != nullptr, type != "gpt2");
    expect_logp_as_trained(models.cpu, prompts, 2, sampled(models.here, prompts, options_of(20), {2, 4}), 1, 0.15);
  }
}

TEST(DecodeEngine, a_row_does_not_depend_on_the_rows_beside_it) {
  const auto prompts = prompts_of({5, 2, 40});
  const Models models = random_models("qwen2", at::kBFloat16);
  SamplerOptions options = options_of(12);
  options.eos_ids = {3, 11};
  auto of_batch = [&](int64_t batch, uint64_t seed) {
    return ids_of(sampled(models.here, prompts, options, {3, batch, seed}));
  };
  const auto whole = of_batch(9, 1);
  EXPECT_EQ(of_batch(1, 1), whole);
  EXPECT_EQ(of_batch(3, 1), whole);
  EXPECT_NE(of_batch(9, 2), whole);
  EXPECT_NE(whole[0], whole[1]) << "two samples of one prompt are the same";
}

TEST(DecodeEngine, rows_end_with_eos_or_at_the_limit) {
  const Models models = random_models("llama", at::kBFloat16);
  SamplerOptions options = options_of(25);
  options.entropy = false;
  for (int64_t id = 1; id <= 10; ++id) options.eos_ids.push_back(id);  // more than the GPU knows of
  int64_t ended = 0;
  for (const SampledRow& row : sampled(models.here, prompts_of({4, 4}), options, {10, 4})) {
    auto is_eos = [](int64_t id) { return id >= 1 && id <= 10; };
    EXPECT_EQ(row.truncated, !is_eos(row.ids.back()));
    EXPECT_TRUE(!row.truncated || row.ids.size() == 25u);
    for (size_t t = 0; t + 1 < row.ids.size(); ++t) EXPECT_FALSE(is_eos(row.ids[t]));
    EXPECT_EQ(row.logp.size(), row.ids.size());
    EXPECT_TRUE(row.entropy.empty());
    ended += !row.truncated;
  }
  EXPECT_GT(ended, 5);
}

TEST(DecodeEngine, whoever_asked_hears_of_every_token_and_may_go) {
  const Models models = random_models("qwen2", at::kBFloat16);
  std::map<int64_t, int64_t> heard;
  How how{3, 2};
  how.on_token = [&](int64_t k, const SampledRow& row, bool done) {
    EXPECT_EQ(static_cast<int64_t>(row.ids.size()), ++heard[k]);
    EXPECT_EQ(done, heard[k] == 40);
    return k != 1 || heard[k] < 5;
  };
  const auto rows = sampled(models.here, prompts_of({6}), options_of(40), how);
  EXPECT_EQ(rows[0].ids.size(), 40u);
  EXPECT_EQ(rows[1].ids.size(), 5u);
  EXPECT_EQ(rows[2].ids.size(), 40u);
}

TEST(DecodeEngine, requests_may_come_while_others_run) {
  const Models models = random_models("qwen2", at::kBFloat16);
  const auto prompts = prompts_of({6, 50});
  const auto alone = sampled(models.here, {prompts[1]}, options_of(60), {2, 4});
  auto engine = decode_engine(models.here, nullptr, 4);
  auto first = std::make_shared<LmRequest>(LmRequest{prompts[0], 3, options_of(30), 1, false, {}});
  auto second = std::make_shared<LmRequest>(LmRequest{prompts[1], 2, options_of(60), 7, false, {}});
  engine->add(first);
  engine->step();
  engine->add(second);  // longer: the cache grows
  while (engine->step()) {
  }
  EXPECT_EQ(ids_of(second->rows), ids_of(alone));
  for (const SampledRow& row : first->rows) EXPECT_EQ(row.ids.size(), 30u);
}

TEST(DecodeEngine, a_repetition_penalty_is_kept_up) {
  const Models models = random_models("qwen3", at::kFloat);
  SamplerOptions options = options_of(30);
  options.repetition_penalty = 1.7;
  const auto prompts = prompts_of({6, 9});
  EXPECT_EQ(ids_of(sampled(models.here, prompts, options, {2, 3})),
            ids_of(sample_rows(models.cpu, nullptr, prompts, 2, 7, false, options)));
}

TEST(DecodeEngine, a_stop_text_ends_a_row) {
  testing::TempDir directory;
  make_tokenizer(directory.path(), {"the cat sat on the mat and that was that", "a dog ran to the red barn"}, 60,
                 false);
  const Tokenizer tokenizer = Tokenizer::load(directory.path());
  const Models models = random_models("llama", at::kFloat);
  const std::vector<std::vector<int64_t>> prompts{tokenizer.encode("the cat")};
  const SampledRow free = sampled(models.here, prompts, options_of(40), {})[0];
  SamplerOptions options = options_of(40);
  options.stop = {"never said", sampled_text(tokenizer, {free.ids.begin(), free.ids.begin() + 20}).substr(3, 3)};
  How how;
  how.tokenizer = &tokenizer;
  const SampledRow stopped = sampled(models.here, prompts, options, how)[0];
  EXPECT_EQ(stopped.stop, options.stop[1]);
  EXPECT_FALSE(stopped.truncated);
  ASSERT_LE(stopped.ids.size(), 20u);
  EXPECT_TRUE(std::equal(stopped.ids.begin(), stopped.ids.end(), free.ids.begin()));
}

class DecodeEngineAdapters : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Dora, DecodeEngineAdapters, ::testing::Bool());

TEST_P(DecodeEngineAdapters, take_part) {
  Models models = random_models("qwen2", at::kFloat);
  LoraConfig lora;
  lora.rank = 3, lora.dora = GetParam();
  if (lora.dora) lora.target_modules = {"k_proj", "v_proj", "o_proj", "up_proj"};  // parts of fused products
  add_lora(models.cpu, lora, 0);
  auto tensors = peft_tensors(models.cpu);
  at::manual_seed(9);
  for (auto& [name, tensor] : tensors) tensor = tensor.detach().add(at::randn_like(tensor).mul(0.1));
  add_lora(models.here, lora, 0);
  load_peft_tensors(models.cpu, tensors, "test"), load_peft_tensors(models.here, tensors, "test");
  const auto prompts = prompts_of({6, 13});
  expect_logp_as_trained(models.cpu, prompts, 2, sampled(models.here, prompts, options_of(10), {2, 4}), 1, 2e-4);
}

TEST(DecodeEngine, logits_that_are_not_finite_end_the_run) {
  Models models = random_models("qwen2", at::kBFloat16);
  models.here.weights().final_norm.weight.data().fill_(NAN);
  EXPECT_THROW(sampled(models.here, prompts_of({4}), options_of(4), {}), RunError);
}

}  // namespace
}  // namespace rft::cuda::decode_engine_test
