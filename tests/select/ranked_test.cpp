/// Selectors that rank groups, rows or contexts.
#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "rft/core/extra.h"
#include "rft/select/gvm.h"
#include "rft/select/pass_rate.h"
#include "rft/select/ranked_groups.h"
#include "support.h"

namespace rft::ranked_test {
namespace {

using Rows = std::vector<int64_t>;
const double kNan = std::nan("");

Experience rows(const std::vector<double>& reward, const Rows& group) {
  Experience batch;
  batch.reward = at::tensor(reward, at::kFloat);
  batch.group = at::tensor(group, at::kLong);
  batch.mask = at::ones({static_cast<int64_t>(reward.size()), 1}, at::kBool);
  batch.logp = at::full({static_cast<int64_t>(reward.size()), 1}, std::log(0.25));
  return batch;
}

template <class T>
T make(const std::string& yaml) {
  return T(read_options<typename T::Options>(Config::parse(yaml)));
}

Rows chosen(Selector& selector, const Experience& batch) {
  Metrics metrics;
  Tensor index = selector.select(batch, metrics);
  return {index.data_ptr<int64_t>(), index.data_ptr<int64_t>() + index.numel()};
}

TEST(PassRate, KeepsGroupsBetweenItsBounds) {
  auto selector = make<PassRate>("{min: 0.2, max: 0.8}");
  EXPECT_EQ(chosen(selector, rows({1, 1, 0, 1, 0, 0, kNan, kNan}, {5, 5, 2, 2, 9, 9, 1, 1})), (Rows{2, 3}));
  EXPECT_EQ(selector.extra_rollouts(), 0);
  EXPECT_EQ(make<PassRate>("{max_rounds: 4}").extra_rollouts(), 3);
  EXPECT_NE(testing::message_of([] { make<PassRate>("{min: 0.9}"); }).find("max"), std::string::npos);
}

TEST(RankedGroups, KeepsTheShareThatVariesMost) {
  auto selector = make<RankedGroups>("{}");
  Experience batch = rows({1, 1, 0, 1, 0, 0.2, kNan, 0.5}, {0, 0, 1, 1, 2, 2, 3, 3});
  EXPECT_EQ(chosen(selector, batch), (Rows{2, 3, 4, 5}));
  EXPECT_EQ(selector.expected_rows(12, 4), 8);
}

TEST(RankedGroups, HardnessIsALowMeanThatSomebodyBeat) {
  auto selector = make<RankedGroups>("{by: hardness, keep: 0.3}");
  Experience batch = rows({0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1}, {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2});
  EXPECT_EQ(chosen(selector, batch), (Rows{8, 9, 10, 11}));
}

TEST(SpreadRows, TakesBothEndsInTheProportionOfLargestVariance) {
  auto selector = make<SpreadRows>("{keep: 3}");
  EXPECT_EQ(chosen(selector, rows({1, 0, 0.95, 0.1, 0.5}, {0, 0, 0, 0, 0})), (Rows{0, 1, 2}));
  EXPECT_EQ(chosen(selector, rows({0, 0, 0, 0, 1, kNan}, {7, 7, 7, 7, 7, 7})).size(), 3u);
  EXPECT_EQ(selector.expected_rows(16, 8), 6);
}

TEST(Gvm, GivesHardContextsMoreAndHopelessOnesLess) {
  auto selector = make<Gvm>("{penalty: 0.0025, decay: 1, gradient: none}");
  EXPECT_EQ(selector.allocate({0, 1, 2}, 12), (Rows{4, 4, 4}));
  std::vector<double> reward;
  Rows group, number;
  for (int64_t row = 0; row < 3; ++row)
    for (int i = 0; i < 100; ++i) {
      int passes = row == 0 ? 90 : row == 1 ? 5 : 0;
      reward.push_back(i < passes), group.push_back(row), number.push_back(row);
    }
  Experience batch = rows(reward, group);
  batch.extra.set(extra::row, at::tensor(number, at::kLong));
  EXPECT_EQ(chosen(selector, batch), (Rows{0, 100}));  // the first right answer of each context that has one
  Rows counts = selector.allocate({0, 1, 2}, 30);
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}), 30);
  EXPECT_GT(counts[1], 2 * counts[0]);
  EXPECT_LT(counts[2], counts[1]);
  EXPECT_GE(counts[2], 1);
  auto restored = make<Gvm>("{penalty: 0.0025, decay: 1, gradient: none}");
  restored.load_state(selector.state());
  EXPECT_EQ(restored.allocate({0, 1, 2}, 30), counts);
  EXPECT_EQ(selector.allocate({4, 5}, 1).size(), 2u);  // fewer answers than contexts
}

/// What one context's answers of two decisions say, of these probabilities.
Experience two_contexts(const std::vector<double>& first, const std::vector<double>& second) {
  Experience batch = rows({1, 1, 1, 0}, {0, 0, 1, 1});
  Tensor q =
      at::tensor({first[0], first[1], first[0], first[1], second[0], second[1], second[0], second[1]}, at::kDouble);
  batch.logp = q.view({4, 2}).log(), batch.mask = at::ones({4, 2}, at::kBool);
  batch.extra.set(extra::row, at::tensor({10, 10, 11, 11}, at::kLong));
  return batch;
}

// The paper's rule with the tallies' start: n in proportion to G / sqrt(p + penalty / p), of answers so far.
TEST(Gvm, GivesContextsWhoseGradientIsLargerMore) {
  auto selector = make<Gvm>("{penalty: 0.001, decay: 1}");
  Experience batch = two_contexts({0.9, 1.0}, {0.2, 0.4});
  batch.mask[0][1].fill_(false), batch.logp[0][1].fill_(std::nan(""));  // whatever stands where nothing was decided
  chosen(selector, batch);
  double easy = (0.5 + 0.1 + 0.1) / 2.5, hard = (0.5 + std::hypot(0.8, 0.6)) / 1.5;  // mean norms
  auto weight = [](double norm, double p) { return norm / std::sqrt(p + 0.001 / p); };
  double share = weight(hard, 1.5 / 3), other = weight(easy, 2.5 / 3);
  Rows counts = selector.allocate({10, 11}, 1002);
  EXPECT_EQ(counts[1], std::lround(1 + 1000 * share / (share + other)));
  EXPECT_EQ(counts[0] + counts[1], 1002);
  auto restored = make<Gvm>("{penalty: 0.001, decay: 1}");
  restored.load_state(selector.state());
  EXPECT_EQ(restored.allocate({10, 11}, 1002), counts);
}

// (1 - q)^2 <= |e_a - p|^2 <= 2 (1 - q)^2, p the distribution at a decision and q = p_a: what the norm stands for.
TEST(Gvm, TheNormOfADecisionIsThatOfTheLogitsGradientButForRootTwo) {
  for (double rest : {0.0, 0.3, 0.6}) {
    Tensor p = at::tensor({0.4, rest, 0.6 - rest}, at::kDouble), z = p.clamp_min(1e-300).log().set_requires_grad(true);
    at::log_softmax(z, 0)[0].backward();
    double norm = z.grad().norm().item<double>();
    EXPECT_GE(norm, 0.6 - 1e-9);
    EXPECT_LE(norm, std::sqrt(2) * 0.6 + 1e-9);
  }
}

TEST(Gvm, WithoutAnyGradientAllAreAlike) {
  auto selector = make<Gvm>("{decay: 0}");
  chosen(selector, two_contexts({1, 1}, {1, 1}));
  EXPECT_EQ(selector.allocate({10, 11}, 10), (Rows{5, 5}));
}

}  // namespace
}  // namespace rft::ranked_test
