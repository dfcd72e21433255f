/// A second model that has a say in what is sampled: the mixture of both and the mask of one, against logits of whole
/// forward passes.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "rft/core/rng.h"
#include "rft/policy/lm_sampler.h"
#include "support.h"

namespace rft::guide_test {
namespace {

constexpr int64_t kTokens = 40;

/// Two layers of random weights; `width` numbers a head.
Decoder model_of(uint64_t seed, int64_t width, int64_t vocab = kTokens) {
  const nlohmann::json json{{"model_type", "qwen3"},
                            {"architectures", {"Qwen3ForCausalLM"}},
                            {"vocab_size", vocab},
                            {"initializer_range", 0.3},
                            {"max_position_embeddings", 256},
                            {"hidden_size", 24},
                            {"intermediate_size", 32},
                            {"num_hidden_layers", 2},
                            {"num_attention_heads", 2},
                            {"num_key_value_heads", 2},
                            {"head_dim", width},
                            {"hidden_act", "silu"},
                            {"rms_norm_eps", 1e-6},
                            {"rope_theta", 10000.0},
                            {"tie_word_embeddings", false}};
  return random_decoder(DecoderConfig::from_json(json.dump(), "test"), at::kFloat, seed);
}

/// [T, V]: log-probabilities of what follows the prompt and each token of the row.
Tensor log_probabilities(const Decoder& decoder, const std::vector<int64_t>& prompt, const SampledRow& row) {
  const at::NoGradGuard no_grad;
  std::vector<int64_t> ids = prompt;
  ids.insert(ids.end(), row.ids.begin(), row.ids.end());
  const auto length = static_cast<int64_t>(ids.size()), first = static_cast<int64_t>(prompt.size());
  const Tensor hidden = decoder.forward({at::tensor(ids, at::kLong), {length}}, {});
  return at::log_softmax(hidden.slice(0, first - 1, length - 1).matmul(decoder.weights().head.t()), 1);
}

std::vector<std::vector<int64_t>> some_prompts() {
  std::vector<std::vector<int64_t>> out;
  for (uint64_t i = 0; i < 4; ++i) {
    out.emplace_back();
    for (uint64_t t = 0; t < 3 + 20 * i; ++t) out.back().push_back(static_cast<int64_t>(Rng(3, i).below(t, kTokens)));
  }
  return out;
}

SamplerOptions guided(const Decoder* guide, double share, double top_p) {
  SamplerOptions options;
  options.max_new_tokens = 40, options.batch_size = 5, options.guide = {guide, share, top_p};
  return options;
}

void expect_logp_of_the_model(const Decoder& model, const std::vector<int64_t>& prompt, const SampledRow& row) {
  const Tensor own = log_probabilities(model, prompt, row).gather(1, at::tensor(row.ids, at::kLong).unsqueeze(1));
  EXPECT_LT(at::tensor(row.logp).sub(own.squeeze(1)).abs().max().item<double>(), 1e-4);
}

/// p, q [T, V]: the model's log-probabilities and the guide's probabilities. By hand: the guide's likeliest tokens
/// until their probability reaches top_p, and the model's probabilities among them.
void expect_logp_of_what_is_left(const Tensor& p, const Tensor& q, const SampledRow& row, double top_p) {
  for (size_t t = 0; t < row.ids.size(); ++t) {
    const Tensor mine = p[static_cast<int64_t>(t)], theirs = q[static_cast<int64_t>(t)];
    const Tensor order = theirs.argsort(-1, /*descending=*/true);
    double reached = 0, left = 0;
    for (int64_t k = 0; k < kTokens && reached < top_p; ++k) {
      const auto id = order[k].item<int64_t>();
      reached += theirs[id].item<double>(), left += std::exp(mine[id].item<double>());
    }
    EXPECT_NEAR(row.logp[t], mine[row.ids[t]].item<double>() - std::log(left), 1e-4);
  }
}

TEST(Guide, WithoutASayChangesNothing) {
  const Decoder model = model_of(1, 8), guide = model_of(2, 4);
  const auto prompts = some_prompts();
  const auto alone = sample_rows(model, nullptr, prompts, 3, 7, false, guided(nullptr, 0, 1)),
             beside = sample_rows(model, nullptr, prompts, 3, 7, false, guided(&guide, 0, 1));
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(alone[i].ids, beside[i].ids);
    EXPECT_EQ(alone[i].logp, beside[i].logp);
  }
  const auto by_guide = sample_rows(guide, nullptr, prompts, 3, 7, false, guided(nullptr, 0, 1)),
             all_say = sample_rows(model, nullptr, prompts, 3, 7, false, guided(&guide, 1, 1));
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(by_guide[i].ids, all_say[i].ids);
}

TEST(Guide, AMixtureTakesItsLikeliestToken) {
  const Decoder model = model_of(1, 8), guide = model_of(2, 4);
  const auto prompts = some_prompts();
  const auto rows = sample_rows(model, nullptr, prompts, 2, 7, true, guided(&guide, 0.4, 1));
  int differs = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Tensor p = log_probabilities(model, prompts[i / 2], rows[i]),
                 q = log_probabilities(guide, prompts[i / 2], rows[i]);
    const Tensor best = p.mul(0.6).add(q, 0.4).argmax(1), ids = at::tensor(rows[i].ids, at::kLong);
    EXPECT_TRUE(best.equal(ids));
    differs += !p.argmax(1).equal(ids) && !q.argmax(1).equal(ids);
    expect_logp_of_the_model(model, prompts[i / 2], rows[i]);
  }
  EXPECT_GT(differs, 0);
}

TEST(Guide, AMixtureIsSampledAsOftenAsItSays) {
  const Decoder model = model_of(1, 8), guide = model_of(2, 4);
  SamplerOptions options = guided(&guide, 0.5, 1);
  options.max_new_tokens = 1, options.batch_size = 64;
  const std::vector<int64_t> prompt{5, 9, 1};
  constexpr int64_t kDraws = 20000;
  const auto rows = sample_rows(model, nullptr, {prompt}, kDraws, 11, false, options);
  Tensor seen = at::zeros({kTokens});
  for (const SampledRow& row : rows) seen[row.ids[0]] += 1.0 / kDraws;
  const Tensor p = log_probabilities(model, prompt, rows[0])[0], q = log_probabilities(guide, prompt, rows[0])[0];
  const Tensor expected = at::softmax(p.add(q).div(2), 0);
  EXPECT_LT(seen.sub(expected).abs().sum().item<double>() / 2, 0.03);
  EXPECT_GT(seen.sub(p.exp()).abs().sum().item<double>() / 2, 0.1);
}

TEST(Guide, AMaskKeepsToTheGuidesNucleus) {
  const Decoder model = model_of(1, 8), guide = model_of(2, 4);
  const auto prompts = some_prompts();
  constexpr double kTopP = 0.7;
  const auto rows = sample_rows(model, nullptr, prompts, 4, 7, false, guided(&guide, 0, kTopP));
  for (size_t i = 0; i < rows.size(); ++i) {
    const Tensor q = log_probabilities(guide, prompts[i / 4], rows[i]).exp();
    const Tensor chosen = q.gather(1, at::tensor(rows[i].ids, at::kLong).unsqueeze(1));
    const Tensor likelier = q.mul(q.gt(chosen).to(q.scalar_type())).sum(1);  // a token of the nucleus follows on less
    EXPECT_LT(likelier.max().item<double>(), kTopP + 1e-4);
    expect_logp_of_what_is_left(log_probabilities(model, prompts[i / 4], rows[i]), q, rows[i], kTopP);
  }
}

TEST(Guide, AnotherVocabularyIsRefused) {
  const Decoder model = model_of(1, 8), guide = model_of(2, 4, kTokens + 1);
  const std::string message = testing::message_of([&] {
    sample_rows(model, nullptr, {{1, 2}}, 1, 0, false, guided(&guide, 0.5, 1));
  });
  EXPECT_NE(message.find("41"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::guide_test
