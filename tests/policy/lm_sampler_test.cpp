#include "rft/policy/lm_sampler.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "decode_kernel_sets.h"
#include "rft/core/rng.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/ops/linear_logp.h"
#include "support.h"

namespace rft::lm_sampler_test {
namespace {

constexpr int64_t kVocab = 90;

DecoderConfig config_of(const std::string& type, int64_t vocab = kVocab, int64_t positions = 1024) {
  const std::map<std::string, std::string> classes{{"gpt2", "GPT2LMHeadModel"},
                                                   {"llama", "LlamaForCausalLM"},
                                                   {"qwen2", "Qwen2ForCausalLM"},
                                                   {"qwen3", "Qwen3ForCausalLM"}};
  nlohmann::json json{
      {"model_type", type}, {"architectures", {classes.at(type)}}, {"vocab_size", vocab}, {"initializer_range", 0.2}};
  if (type == "gpt2") {
    json.update({{"n_positions", positions},
                 {"n_embd", 24},
                 {"n_layer", 2},
                 {"n_head", 3},
                 {"activation_function", "gelu_new"},
                 {"layer_norm_epsilon", 1e-5}});
  } else {
    json.update({{"max_position_embeddings", positions},
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
  }
  return DecoderConfig::from_json(json.dump(), "test");
}

const std::vector<std::string> kTypes{"gpt2", "llama", "qwen2", "qwen3"};

std::vector<std::vector<int64_t>> prompts_of(const std::vector<int64_t>& lengths, uint64_t seed = 5) {
  std::vector<std::vector<int64_t>> prompts;
  for (size_t i = 0; i < lengths.size(); ++i) {
    prompts.emplace_back();
    for (int64_t t = 0; t < lengths[i]; ++t) {
      prompts.back().push_back(static_cast<int64_t>(Rng(seed, i).below(static_cast<uint64_t>(t), kVocab)));
    }
  }
  return prompts;
}

SamplerOptions options_of(int64_t new_tokens, int64_t batch_size = 0) {
  SamplerOptions options;
  options.max_new_tokens = new_tokens;
  options.batch_size = batch_size;
  return options;
}

std::vector<std::vector<int64_t>> ids_of(const std::vector<SampledRow>& rows) {
  std::vector<std::vector<int64_t>> ids;
  for (const SampledRow& row : rows) ids.push_back(row.ids);
  return ids;
}

/// What the trainer computes for a sampled row.
ops::LinearLogp trained(const Decoder& decoder, const std::vector<int64_t>& prompt, const SampledRow& row,
                        double temperature) {
  std::vector<int64_t> ids = prompt;
  ids.insert(ids.end(), row.ids.begin(), row.ids.end());
  const at::NoGradGuard no_grad;
  const auto length = static_cast<int64_t>(ids.size()), first = static_cast<int64_t>(prompt.size());
  const Tensor hidden = decoder.forward({at::tensor(ids, at::kLong), {length}}, {});
  return ops::linear_logp(hidden.slice(0, first - 1, length - 1), decoder.weights().head,
                          at::tensor(row.ids, at::kLong), temperature, true, decoder.config().logit_softcap);
}

Decoder checkpoint(const std::string& name) {
  const std::string directory = testing::fixture("parity/data/decoders/" + name), file = directory + "/config.json";
  return {DecoderConfig::from_json(read_text(file), file), load_hf_tensors(directory), at::kFloat, directory};
}

void expect_logp_as_trained(const Decoder& decoder, const std::vector<std::vector<int64_t>>& prompts,
                            int64_t group_size, const std::vector<SampledRow>& rows, double temperature,
                            double tolerance = 1e-5) {
  ASSERT_EQ(rows.size(), prompts.size() * static_cast<size_t>(group_size));
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto expected = trained(decoder, prompts[i / static_cast<size_t>(group_size)], rows[i], temperature);
    const Tensor logp = at::tensor(rows[i].logp), entropy = at::tensor(rows[i].entropy);
    EXPECT_LT((logp - expected.logp).abs().max().item<double>(), tolerance) << "row " << i;
    EXPECT_LT((entropy - expected.entropy).abs().max().item<double>(), tolerance) << "row " << i;
  }
}

TEST(LmSampler, greedy_completions_are_those_of_transformers) {
  const auto all =
      nlohmann::json::parse(testing::read_file(testing::fixture("parity/data/generations/generations.json")));
  ASSERT_GE(all.size(), 4u);
  for (const auto& [name, cases] : all.items()) {
    SCOPED_TRACE(name);
    const Decoder decoder = checkpoint(name);
    std::vector<std::vector<int64_t>> prompts;
    for (const auto& one : cases) prompts.push_back(one["prompt"]);
    testing::with_every_kernel_set([&] {
      const auto rows = sample_rows(decoder, nullptr, prompts, 2, 0, true, options_of(12));
      for (size_t i = 0; i < rows.size(); ++i) {
        const auto expected = cases[i / 2]["ids"].get<std::vector<int64_t>>();
        const auto logp = cases[i / 2]["logp"].get<std::vector<double>>();
        ASSERT_GE(rows[i].ids.size(), expected.size());
        EXPECT_EQ(std::vector<int64_t>(rows[i].ids.begin(), rows[i].ids.begin() + int64_t(expected.size())), expected);
        // Against float64: transformers' own float32 is as far from it on these random models.
        for (size_t t = 0; t < logp.size(); ++t) EXPECT_NEAR(rows[i].logp[t], logp[t], 3e-5);
      }
    });
  }
}

// Sliding windows end inside and between pages, prompts are shared, and experts are chosen as in training.
TEST(LmSampler, logp_and_entropy_are_what_the_trainer_computes_in_each_family) {
  for (const std::string name : {"mistral", "mixtral", "qwen3_moe", "qwen3_moe_plain", "gemma2", "gemma3", "phi3",
                                 "phi3_longrope", "olmo2", "smollm3", "qwen3_sliding_yarn", "llama_dynamic"}) {
    SCOPED_TRACE(name);
    const Decoder decoder = checkpoint(name);
    const int64_t longest = decoder.config().max_positions;
    auto prompts = prompts_of({1, 3, 7, longest - 21, 12});
    for (auto& prompt : prompts)
      for (int64_t& id : prompt) id %= decoder.config().vocab_size;
    SamplerOptions options = options_of(20, 4);
    options.entropy = true;
    const auto rows = sample_rows(decoder, nullptr, prompts, 3, 7, false, options);
    expect_logp_as_trained(decoder, prompts, 3, rows, 1.0, 2e-5);
  }
}

TEST(LmSampler, logp_and_entropy_are_what_the_trainer_computes) {
  const auto prompts = prompts_of({1, 3, 31, 32, 33, 70});
  SamplerOptions options = options_of(40, 5);
  options.entropy = true;
  options.temperature = 0.8;
  options.top_p = 0.95;
  for (const std::string& type : kTypes) {
    SCOPED_TRACE(type);
    const Decoder decoder = random_decoder(config_of(type), at::kFloat, 1);
    testing::with_every_kernel_set([&] {
      const auto rows = sample_rows(decoder, nullptr, prompts, 3, 7, false, options);
      expect_logp_as_trained(decoder, prompts, 3, rows, 0.8);
    });
  }
}

TEST(LmSampler, prompts_longer_than_a_pass_are_computed_in_parts) {
  const auto prompts = prompts_of({700, 4, 600});
  SamplerOptions options = options_of(4);
  options.entropy = true;
  const Decoder decoder = random_decoder(config_of("qwen2"), at::kFloat, 2);
  expect_logp_as_trained(decoder, prompts, 2, sample_rows(decoder, nullptr, prompts, 2, 7, false, options), 1);
}

TEST(LmSampler, a_row_does_not_depend_on_the_rows_beside_it) {
  const auto prompts = prompts_of({5, 9, 2, 40, 17});
  for (const std::string& type : kTypes) {
    SCOPED_TRACE(type);
    const Decoder decoder = random_decoder(config_of(type), at::kFloat, 3);
    SamplerOptions options = options_of(20);
    options.eos_ids = {3, 11};
    const auto sample = [&](int64_t batch_size, uint64_t seed) {
      options.batch_size = batch_size;
      return ids_of(sample_rows(decoder, nullptr, prompts, 6, seed, false, options));
    };
    const auto whole = sample(64, 1);
    EXPECT_EQ(sample(1, 1), whole);
    EXPECT_EQ(sample(3, 1), whole);
    EXPECT_EQ(sample(64, 1), whole);
    EXPECT_NE(sample(64, 2), whole);
    EXPECT_NE(whole[0], whole[1]) << "two samples of one prompt are the same";
  }
}

TEST(LmSampler, rows_end_with_eos_or_at_the_limit) {
  const Decoder decoder = random_decoder(config_of("llama"), at::kFloat, 4);
  SamplerOptions options = options_of(25, 4);
  options.eos_ids = {1, 2, 3, 4, 5, 6};
  int64_t ended = 0, calls = 0, done = 0, tokens = 0;
  const auto rows = sample_rows(decoder, nullptr, prompts_of({4, 4, 4}), 10, 3, false, options,
                                [&](int64_t rows_done, int64_t so_far) {
                                  EXPECT_GE(rows_done, done);
                                  done = rows_done, tokens = so_far, ++calls;
                                });
  int64_t total = 0;
  for (const SampledRow& row : rows) {
    const bool eos = row.ids.back() >= 1 && row.ids.back() <= 6;
    EXPECT_EQ(row.truncated, !eos);
    EXPECT_LE(row.ids.size(), 25u);
    EXPECT_TRUE(!row.truncated || row.ids.size() == 25u);
    for (size_t t = 0; t + 1 < row.ids.size(); ++t) EXPECT_FALSE(row.ids[t] >= 1 && row.ids[t] <= 6);
    EXPECT_EQ(row.logp.size(), row.ids.size());
    EXPECT_TRUE(row.entropy.empty());
    ended += eos;
    total += static_cast<int64_t>(row.ids.size());
  }
  EXPECT_GT(ended, 5);
  EXPECT_EQ(done, 30);
  EXPECT_EQ(tokens, total);
  EXPECT_GT(calls, 5);
}

class LmSamplerAdapters : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Dora, LmSamplerAdapters, ::testing::Bool());

TEST_P(LmSamplerAdapters, take_part) {
  Decoder decoder = random_decoder(config_of("qwen2"), at::kFloat, 5);
  const auto prompts = prompts_of({6, 13});
  SamplerOptions options = options_of(10);
  options.entropy = true;
  const auto base = sample_rows(decoder, nullptr, prompts, 1, 1, true, options);
  LoraConfig lora;
  lora.rank = 3;
  lora.dora = GetParam();
  if (lora.dora) lora.target_modules = {"k_proj", "v_proj", "o_proj", "up_proj"};  // parts of fused products
  add_lora(decoder, lora, 0);
  at::manual_seed(9);
  for (DecoderLayer& layer : decoder.weights().layers) {
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) {
      for (Adapter& adapter : linear->adapters) {
        adapter.b.data().normal_(0, 0.3);
        if (lora.dora) adapter.magnitude.data().mul_(at::rand_like(adapter.magnitude).add(0.5));
      }
    }
  }
  const auto adapted = sample_rows(decoder, nullptr, prompts, 1, 1, true, options);
  EXPECT_NE(ids_of(adapted), ids_of(base));
  expect_logp_as_trained(decoder, prompts, 1, adapted, 1);
}

TEST(LmSampler, bfloat16_weights_are_computed_with_in_float32) {
  const DecoderConfig config = config_of("llama");
  auto tensors = random_decoder(config, at::kFloat, 6).hugging_face_tensors();
  for (auto& [name, tensor] : tensors) tensor = tensor.to(at::kBFloat16);
  const Decoder half(config, tensors, at::kBFloat16, "test"), whole(config, tensors, at::kFloat, "test");
  const auto prompts = prompts_of({6, 13, 40});
  SamplerOptions options = options_of(10);
  options.entropy = true;
  for (int64_t group_size : {1, 6}) {
    const auto rows = sample_rows(half, nullptr, prompts, group_size, 1, false, options);
    expect_logp_as_trained(whole, prompts, group_size, rows, 1);
  }
}

TEST(LmSampler, options_reach_the_draw) {
  const Decoder decoder = random_decoder(config_of("qwen3"), at::kFloat, 7);
  const auto prompts = prompts_of({6, 13});
  const auto greedy = ids_of(sample_rows(decoder, nullptr, prompts, 2, 1, true, options_of(30)));
  SamplerOptions options = options_of(30);
  EXPECT_NE(ids_of(sample_rows(decoder, nullptr, prompts, 2, 1, false, options)), greedy);
  options.top_k = 1;
  EXPECT_EQ(ids_of(sample_rows(decoder, nullptr, prompts, 2, 1, false, options)), greedy);
  options.top_k = 0, options.temperature = 0;
  EXPECT_EQ(ids_of(sample_rows(decoder, nullptr, prompts, 2, 1, false, options)), greedy);
  options.repetition_penalty = 1e6;
  for (const SampledRow& row : sample_rows(decoder, nullptr, prompts, 1, 1, false, options)) {
    EXPECT_EQ(std::set<int64_t>(row.ids.begin(), row.ids.end()).size(), row.ids.size()) << "a token came twice";
  }
}

TEST(LmSampler, a_stop_text_is_found_across_token_borders) {
  testing::TempDir directory;
  make_tokenizer(directory.path(), {"the cat sat on the mat and that was that", "a dog ran to the red barn"}, 60,
                 false);
  const Tokenizer tokenizer = Tokenizer::load(directory.path());
  const Decoder decoder = random_decoder(config_of("llama", tokenizer.size()), at::kFloat, 8);
  const std::vector<std::vector<int64_t>> prompts{tokenizer.encode("the cat")};
  const SampledRow free = sample_rows(decoder, nullptr, prompts, 1, 2, false, options_of(30))[0];
  const std::string head = tokenizer.decode({free.ids.begin(), free.ids.begin() + 10}, true);
  const std::string next = tokenizer.decode({free.ids[10]}, true);
  ASSERT_FALSE(next.empty());
  SamplerOptions options = options_of(30);
  options.stop = {"never said", head.substr(head.size() - 2) + next.substr(0, 1)};
  const SampledRow stopped = sample_rows(decoder, &tokenizer, prompts, 1, 2, false, options)[0];
  EXPECT_EQ(stopped.stop, options.stop[1]);
  EXPECT_FALSE(stopped.truncated);
  ASSERT_LE(stopped.ids.size(), 11u);
  EXPECT_TRUE(std::equal(stopped.ids.begin(), stopped.ids.end(), free.ids.begin()));
  EXPECT_NE(tokenizer.decode(stopped.ids, true).find(options.stop[1]), std::string::npos);
}

/// A tokenizer of words' parts and all bytes, and a model that knows nothing.
struct Free {
  testing::TempDir directory;
  Tokenizer tokenizer;
  std::unique_ptr<Decoder> decoder;
  std::vector<std::vector<int64_t>> prompts;

  Free() {
    make_tokenizer(directory.path(), {"the cat sat on the mat and that was that", "a dog ran to the red barn"}, 290);
    tokenizer = Tokenizer::load(directory.path());
    decoder = std::make_unique<Decoder>(random_decoder(config_of("llama", tokenizer.size()), at::kFloat, 8));
    prompts = {tokenizer.encode("the cat")};
  }
  std::vector<SampledRow> sample(const SamplerOptions& options, int64_t rows, bool greedy = false) const {
    return sample_rows(*decoder, &tokenizer, prompts, rows, 3, greedy, options);
  }
};

TEST(LmSampler, a_pattern_is_kept_whatever_filters_there_are) {
  const Free free;
  for (auto [top_p, top_k, temperature] : {std::tuple(1.0, 0, 1.0), {0.3, 0, 1.0}, {1.0, 2, 0.7}, {1.0, 0, 0.0}}) {
    SamplerOptions options = options_of(40);
    options.top_p = top_p, options.top_k = top_k, options.temperature = temperature;
    options.repetition_penalty = 1.1;
    options.eos_ids = {free.tokenizer.id("<|eos|>")};
    const std::string pattern = "(the|a) [a-d]+é{2}( on)?(?: \\d{3,4})?";
    options.pattern = GrowingPattern(pattern, "test");
    const Pattern whole(pattern, "test", {.whole = true});
    int finished = 0;
    for (const SampledRow& row : free.sample(options, 16)) {
      if (row.truncated) continue;  // [a-d]+ may go on and on
      ++finished;
      EXPECT_TRUE(whole.matches(sampled_text(free.tokenizer, row.ids))) << sampled_text(free.tokenizer, row.ids);
      EXPECT_EQ(row.ids.size(), row.logp.size());
    }
    if (temperature == 1 && top_p == 1) EXPECT_GT(finished, 8);
  }
}

TEST(LmSampler, what_a_pattern_leaves_is_drawn_as_often_as_the_model_says) {
  const Free free;
  SamplerOptions options = options_of(1);
  const int64_t rows = 4000;
  const auto first = [&](const SamplerOptions& how) {
    std::map<std::string, double> share;
    for (const SampledRow& row : free.sample(how, rows))
      share[free.tokenizer.bytes(row.ids.at(0))] += 1.0 / static_cast<double>(rows);
    return share;
  };
  options.pattern = GrowingPattern("[0-9]+|th.*", "test");
  const auto shares = first(options);
  // The model's own probabilities of what may begin such a text.
  std::map<std::string, double> expected;
  double sum = 0;
  for (int64_t id = 0; id < free.tokenizer.size(); ++id) {
    const std::string text = free.tokenizer.bytes(id);
    const bool digits = text.size() == 1 && text[0] >= '0' && text[0] <= '9';
    if (free.tokenizer.is_special(id) || !(digits || text == "t" || text.starts_with("th"))) continue;
    SampledRow row{{id}, {}, {}, false, ""};
    expected[text] = std::exp(trained(*free.decoder, free.prompts[0], row, 1).logp[0].item<double>());
    sum += expected[text];
  }
  ASSERT_GE(expected.size(), 12u);
  double apart = 0;
  for (const auto& [text, probability] : expected)
    apart += std::abs(probability / sum - (shares.count(text) ? shares.at(text) : 0)) / 2;
  EXPECT_LT(apart, 0.04);
  double seen = 0;
  for (const auto& [text, share] : shares) seen += expected.count(text) ? share : 0;
  EXPECT_NEAR(seen, 1, 1e-9);
  // What is reported stays the model's own log-probability.
  const SampledRow one = free.sample(options, 1)[0];
  EXPECT_NEAR(one.logp[0], std::log(expected.at(free.tokenizer.bytes(one.ids[0]))), 1e-4);
}

TEST(LmSampler, a_row_that_cant_go_on_with_its_pattern_ends) {
  const Free free;
  SamplerOptions options = options_of(20);
  options.eos_ids = {free.tokenizer.id("<|eos|>")};
  options.pattern = GrowingPattern("cat", "test");
  const SampledRow done = free.sample(options, 1)[0];
  EXPECT_EQ(sampled_text(free.tokenizer, done.ids), "cat");
  EXPECT_FALSE(done.truncated);
  EXPECT_NE(done.ids.back(), options.eos_ids[0]);        // nothing can follow: no token is spent on saying so
  options.pattern = GrowingPattern("ca(?!.)t", "test");  // nothing matches
  const SampledRow stuck = free.sample(options, 1)[0];
  EXPECT_TRUE(stuck.truncated);
}

TEST(LmSampler, wrong_requests_name_the_prompt) {
  const Decoder decoder = random_decoder(config_of("gpt2", kVocab, 32), at::kFloat, 9);
  const auto message = [&](std::vector<std::vector<int64_t>> prompts, int64_t new_tokens) {
    return testing::message_of([&] { sample_rows(decoder, nullptr, prompts, 1, 0, false, options_of(new_tokens)); });
  };
  EXPECT_NE(message({{1}, {}}, 4).find("prompt 1"), std::string::npos);
  EXPECT_NE(message({{1, kVocab}}, 4).find("0 .. 89; got 90"), std::string::npos);
  EXPECT_NE(message(prompts_of({3, 20}), 13).find("prompt 1"), std::string::npos);
  EXPECT_NE(message({{1}}, 0).find("max_new_tokens"), std::string::npos);
  EXPECT_TRUE(sample_rows(decoder, nullptr, {}, 4, 0, false, options_of(4)).empty());
}

}  // namespace
}  // namespace rft::lm_sampler_test
