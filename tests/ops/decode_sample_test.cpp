#include "rft/ops/decode_sample.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "decode_kernel_sets.h"
#include "rft/core/rng.h"
#include "rft/core/tensor.h"
#include "support.h"

namespace rft::decode_sample_test {
namespace {

using ops::TokenSampling;
using testing::with_every_kernel_set;

std::vector<float> values_of(const Tensor& x) {
  return {x.const_data_ptr<float>(), x.const_data_ptr<float>() + x.numel()};
}

/// Pearson's chi-square of `counts` against `probability`; categories that expect less than 5 are pooled.
/// Returns (statistic - degrees of freedom) / sqrt(2 * degrees of freedom), about standard normal.
double chi_square_z(const std::vector<int64_t>& counts, const std::vector<double>& probability, int64_t draws) {
  double statistic = 0, pooled = 0, pooled_count = 0;
  int64_t categories = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probability[i] * static_cast<double>(draws), count = static_cast<double>(counts[i]);
    if (expected < 5) {
      pooled += expected, pooled_count += count;
      continue;
    }
    statistic += (count - expected) * (count - expected) / expected;
    ++categories;
  }
  if (pooled > 0) statistic += (pooled_count - pooled) * (pooled_count - pooled) / pooled, ++categories;
  return (statistic - double(categories - 1)) / std::sqrt(2.0 * double(categories - 1));
}

/// Frequencies of many draws, and the filtered distribution they should follow.
void expect_frequencies(int64_t vocab, const TokenSampling& options) {
  const auto logits = values_of(at::randn({vocab}) * 2);
  const auto kept = ops::kept_tokens(logits.data(), vocab, options, {});
  std::vector<double> probability(static_cast<size_t>(vocab), 0.0);
  double total = 0;
  for (int64_t id : kept) total += std::exp(logits[id] / options.temperature);
  for (int64_t id : kept) probability[id] = std::exp(logits[id] / options.temperature) / total;
  std::vector<int64_t> counts(static_cast<size_t>(vocab), 0);
  const int64_t draws = 40000;
  for (int64_t i = 0; i < draws; ++i) {
    ++counts[ops::sample_token(logits.data(), vocab, options, {}, Rng(17, 3).uniform(i)).id];
  }
  for (int64_t id = 0; id < vocab; ++id) {
    if (probability[id] == 0) {
      EXPECT_EQ(counts[id], 0);
    }
  }
  EXPECT_LT(std::abs(chi_square_z(counts, probability, draws)), 4);
}

TEST(DecodeSample, frequencies_follow_the_distribution) {
  at::manual_seed(6);
  with_every_kernel_set([] {
    expect_frequencies(11, {});
    expect_frequencies(700, {});
    expect_frequencies(700, {.temperature = 0.6});
    expect_frequencies(700, {.temperature = 1.5, .top_k = 30, .top_p = 0.9, .min_p = 0.01});
  });
}

TEST(DecodeSample, filters_leave_what_transformers_leaves) {
  const auto cases = nlohmann::json::parse(testing::read_file(testing::fixture("parity/data/sampling/filters.json")));
  ASSERT_GE(cases.size(), 30u);
  for (const auto& one : cases) {
    SCOPED_TRACE(one["options"].dump());
    std::vector<float> logits;
    for (int value : one["logits"]) logits.push_back(static_cast<float>(value) / 1048576);
    const auto& o = one["options"];
    const TokenSampling options{o.value("temperature", 1.0), o.value("top_k", int64_t{0}), o.value("top_p", 1.0),
                                o.value("min_p", 0.0), o.value("repetition_penalty", 1.0)};
    const auto seen = one["seen"].get<std::vector<int64_t>>();
    EXPECT_EQ(ops::kept_tokens(logits.data(), static_cast<int64_t>(logits.size()), options, seen),
              one["kept"].get<std::vector<int64_t>>());
  }
}

TEST(DecodeSample, logp_and_entropy_are_of_the_unfiltered_distribution_at_temperature) {
  at::manual_seed(7);
  with_every_kernel_set([] {
    for (int64_t vocab : {1, 17, 3000}) {
      const Tensor logits = at::randn({vocab}) * 5;
      const TokenSampling options{.temperature = 0.7, .top_k = 5, .top_p = 0.9, .repetition_penalty = 1.3};
      const auto token = ops::sample_token(logits.const_data_ptr<float>(), vocab, options, {0}, 0.4);
      const Tensor logp = (logits.to(at::kDouble) / 0.7).log_softmax(0);
      EXPECT_NEAR(token.logp, logp[token.id].item<double>(), 2e-6 * (1 + std::abs(token.logp)));
      EXPECT_NEAR(token.entropy, -(logp.exp() * logp).sum().item<double>(), 5e-6);
    }
  });
}

TEST(DecodeSample, temperature_zero_takes_the_first_of_the_likeliest) {
  std::vector<float> logits(600, -1.f);
  logits[5] = logits[300] = 2.f;
  EXPECT_EQ(ops::sample_token(logits.data(), 600, {.temperature = 0}, {}, 0.99).id, 5);
  EXPECT_EQ(ops::sample_token(logits.data(), 600, {.temperature = 0, .repetition_penalty = 2}, {5}, 0.99).id, 300);
}

TEST(DecodeSample, extreme_uniforms_stay_inside_the_distribution) {
  const double largest = 1 - 0x1.0p-53;
  const std::vector<float> logits{-1000.f, 0.f, 0.f, -1000.f};
  EXPECT_EQ(ops::sample_token(logits.data(), 4, {}, {}, 0).id, 1);
  EXPECT_EQ(ops::sample_token(logits.data(), 4, {}, {}, largest).id, 2);
  EXPECT_EQ(ops::sample_token(logits.data(), 4, {.top_k = 3}, {}, largest).id, 2);
}

TEST(DecodeSample, logits_that_are_not_finite_are_an_error) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits(40, 0.f);
    logits[33] = bad;
    EXPECT_THROW(ops::sample_token(logits.data(), 40, {}, {}, 0.5), RunError);
  }
}

}  // namespace
}  // namespace rft::decode_sample_test
