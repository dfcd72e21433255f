/// What a rollout's tokens do to their group's right answers, of a language model, against the same from its dense
/// probabilities, group by group.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <limits>

#include "rft/core/extra.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/policy/causal_lm.h"
#include "support.h"

namespace rft::token_influence_test {
namespace {

std::string model_directory(const testing::TempDir& dir) {
  make_tokenizer(dir.path(), {"0123456789+=;,"}, 16, false);
  Tokenizer tokenizer = Tokenizer::load(dir.path());
  std::string config = cat(
      R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": false, "head_dim": 8,
          "hidden_act": "silu", "hidden_size": 16, "initializer_range": 0.3, "intermediate_size": 32,
          "max_position_embeddings": 64, "num_attention_heads": 2, "num_hidden_layers": 1, "num_key_value_heads": 2,
          "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false, "eos_token_id": )",
      tokenizer.eos_id(), R"(, "vocab_size": )", tokenizer.size(), "}");
  write_text(dir.path() + "/config.json", config);
  save_hf_tensors(dir.path(),
                  random_decoder(DecoderConfig::from_json(config, "test"), at::kFloat, 4).hugging_face_tensors());
  return dir.path();
}

TEST(CausalLm, SaysWhatTokensDoToRightAnswers) {
  testing::TempDir dir;
  CausalLm::Options options;
  options.path = model_directory(dir);
  CausalLm policy(options);
  // Two groups of three rows, one of them without a right answer; answers of unequal length.
  std::vector<CausalLm::TokenRow> rows = {{{2, 3}, {4, 5, 6}}, {{2, 3}, {7, 8}},    {{2, 3}, {4, 9, 10, 11}},
                                          {{5, 6}, {3, 4}},    {{5, 6}, {7, 8, 9}}, {{5, 6}, {2}}};
  Experience batch = CausalLm::pack(rows);
  batch.group = at::tensor({4, 4, 4, 9, 9, 9}, at::kLong);
  batch.advantage = at::tensor({0.5, -1.0, 0.5, -1.0, -1.0, -1.0}).unsqueeze(1).expand_as(batch.mask).clone();
  auto got = policy.token_influence(batch);

  at::NoGradGuard no_grad;
  const Decoder& model = policy.decoder();
  std::vector<Tensor> errors, hidden, of_right;
  std::vector<double> means;
  for (int64_t i = 0; i < 3; ++i) {
    const auto& row = rows[static_cast<size_t>(i)];
    std::vector<int64_t> ids = row.prompt;
    ids.insert(ids.end(), row.completion.begin(), row.completion.end());
    auto length = static_cast<int64_t>(ids.size()), count = static_cast<int64_t>(row.completion.size());
    Tensor states = model.forward({at::tensor(ids, at::kLong), {length}}, {}).narrow(0, 1, count);
    Tensor p = at::softmax(states.matmul(model.weights().head.t()), 1);
    errors.push_back(at::one_hot(at::tensor(row.completion, at::kLong), p.size(1)).to(at::kFloat).sub(p));
    hidden.push_back(states);
  }
  for (int64_t i = 0; i < 3; ++i) {
    Tensor sum = at::zeros({hidden[i].size(0)});
    for (int64_t j : {0, 2}) sum += errors[i].matmul(errors[j].t()).mul(hidden[i].matmul(hidden[j].t())).sum(1);
    EXPECT_TRUE(got.influence[i].narrow(0, 0, sum.size(0)).allclose(sum, 1e-4, 1e-5)) << i << got.influence[i] << sum;
    EXPECT_EQ(got.influence[i].slice(0, sum.size(0)).abs().sum().item<double>(), 0);
    if (i != 1) means.push_back(sum.mean().item<double>());
  }
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(got.anchor[i].item<double>(), std::min(means[0], means[1]), 1e-4);
    EXPECT_EQ(got.anchor[i + 3].item<float>(), -std::numeric_limits<float>::infinity());
    EXPECT_EQ(got.influence[i + 3].abs().sum().item<double>(), 0);
  }
}

}  // namespace
}  // namespace rft::token_influence_test
