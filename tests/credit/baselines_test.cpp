/// Credits that compare a reward with a baseline of its own: hand-worked tables, and what they estimate.
#include "rft/credit/baselines.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "rft/core/extra.h"
#include "rft/credit/gae.h"
#include "rft/credit/group_normalized.h"
#include "rft/credit/optimal_value.h"
#include "rft/credit/posterior.h"
#include "rft/credit/reward_to_go.h"
#include "rft/credit/win_rate.h"
#include "support.h"

namespace rft::baselines_test {
namespace {

template <class T>
Tensor advantage_of(const std::string& options, Experience batch) {
  Metrics metrics;
  T credit(read_options<typename T::Options>(Config::parse(options)));
  credit.assign(batch, metrics);
  return batch.advantage;
}

/// Rows of one group and of so many decisions each.
Experience rows(const std::vector<double>& reward, const std::vector<int64_t>& lengths) {
  Experience batch;
  auto n = static_cast<int64_t>(reward.size());
  int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  batch.reward = at::tensor(reward, at::kDouble);
  batch.group = at::zeros({n}, at::kLong);
  batch.mask = at::arange(longest).unsqueeze(0).lt(at::tensor(lengths).unsqueeze(1));
  batch.logp = at::zeros({n, longest}, at::kDouble);
  batch.ref_logp = at::zeros({n, longest}, at::kDouble);
  return batch;
}

void expect_rows(const Tensor& advantage, const std::vector<double>& expected, double tolerance = 1e-12) {
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(advantage[static_cast<int64_t>(i)][0].item<double>(), expected[i], tolerance) << "row " << i;
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(GreedyBaseline, TakesOffTheMostLikelyAnswersReward) {
  Experience batch = rows({1, 0, kNan}, {2, 1, 1});
  batch.extra.set(extra::greedy_reward, at::tensor({0.25, 0.25, 0.25}, at::kDouble));
  expect_rows(advantage_of<GreedyBaseline>("{}", batch), {0.75, -0.25, 0});
  batch.extra = {};
  EXPECT_NE(testing::message_of<RunError>([&] { advantage_of<GreedyBaseline>("{}", batch); }).find("greedy_reward"),
            std::string::npos);
}

TEST(LengthBaseline, WeighsRewardsByLength) {
  // (3 * 1 + 1 * 0) / 4; the row without a reward has no say.
  expect_rows(advantage_of<LengthBaseline>("{}", rows({1, 0, kNan}, {3, 1, 3})), {0.25, -0.75, 0});
}

TEST(MaxAtK, OfOneIsTheLeaveOneOutBaseline) {
  expect_rows(advantage_of<MaxAtK>("{k: 1}", rows({1, 0, 0.5}, {1, 1, 1})), {0.75, -0.75, 0});
}

TEST(MaxAtK, EqualsTheAverageOverAllSubsets) {
  // s_i k / n sums over the subsets that hold i; its own formula, worked by brute force.
  std::vector<double> r{0.3, 1.0, 0.1, 0.6, 0.6};
  const int64_t n = 5, k = 3;
  std::vector<double> expected(5);
  for (int64_t i = 0; i < n; ++i) {
    double with = 0, without = 0, subsets = 0, others = 0;
    for (int bits = 0; bits < 32; ++bits) {
      if (__builtin_popcount(bits) != k) continue;
      double best = 0;
      for (int j = 0; j < n; ++j)
        if (bits >> j & 1) best = std::max(best, r[j]);
      subsets += 1;
      if (bits >> i & 1)
        with += best;
      else
        without += best, others += 1;
    }
    expected[i] = static_cast<double>(n) / k * with / subsets - without / others;
  }
  expect_rows(advantage_of<MaxAtK>("{k: 3}", rows(r, {1, 1, 1, 1, 1})), expected);
  expect_rows(advantage_of<MaxAtK>("{k: 5}", rows(r, {1, 1, 1, 1, 1})), {0, 0, 0, 0, 0});
}

TEST(GroupNormalized, RescaleMakesUpForGroupsThatTeachNothing) {
  Experience batch = rows({1, 0, 2, 2}, {1, 1, 1, 1});
  batch.group = at::tensor({0, 0, 1, 1}, at::kLong);
  expect_rows(advantage_of<GroupNormalized>("{scale: none, rescale: true}", batch), {1, -1, 0, 0});
}

TEST(GroupNormalized, AGivenAnswerThatIsMatchedCountsAsTheMeanOfTheOwn) {
  // ViSurf (arXiv:2510.10606): r(y) = mean r(o) where max r(o) >= r(y); the group's mean is over y and all o.
  Experience batch = rows({1, 0, 1, kNan, 1, 0, 0.5}, {1, 1, 1, 1, 1, 1, 1});
  batch.group = at::tensor({0, 0, 0, 0, 1, 1, 1}, at::kLong);
  batch.extra.set(extra::given, at::tensor({0, 0, 1, 0, 1, 0, 0}).to(at::kBool));
  expect_rows(advantage_of<GroupNormalized>("{scale: none, given: smoothed}", batch), {0.5, -0.5, 0, 0, 0.5, -0.5, 0});
  expect_rows(advantage_of<GroupNormalized>("{scale: none}", batch), {1 / 3., -2 / 3., 1 / 3., 0, 0.5, -0.5, 0});
  // AHPO (arXiv:2510.08540): the policy's rows are compared with each other alone.
  expect_rows(advantage_of<GroupNormalized>("{scale: none, given: apart}", batch), {0.5, -0.5, 0, 0, 0, -0.25, 0.25});
  // All own rewards failed: there is nothing that matches.
  batch.reward = at::tensor({kNan, kNan, 1.0, kNan, 1.0, kNan, kNan}, at::kDouble);
  expect_rows(advantage_of<GroupNormalized>("{scale: none, given: smoothed}", batch), {0, 0, 0, 0, 0, 0, 0});
}

TEST(GroupNormalized, RewardsAreReshapedAboutAThreshold) {
  // TempSamp-R1 (arXiv:2509.18056), threshold 0.8, gain 0.01, steepness 1.
  std::vector<double> r = {1, 0.8, 0.3, 0}, f;
  for (double x : r)
    f.push_back(x >= 0.8 ? 0.8 + 0.01 * std::log(x - 0.8 + 1) : 0.8 - (std::exp(0.8 - x) - 1) / (std::exp(1.0) - 1));
  double mean = (f[0] + f[1] + f[2] + f[3]) / 4;
  Experience batch = rows({1, 0.8, 0.3, 0, kNan}, {1, 1, 1, 1, 1});
  expect_rows(advantage_of<GroupNormalized>("{scale: none, shape_threshold: 0.8}", batch),
              {f[0] - mean, f[1] - mean, f[2] - mean, f[3] - mean, 0});
  auto refuse = [] {
    GroupNormalized(read_options<GroupNormalized::Options>(
        Config::parse("{aggregation: normalize_then_sum, shape_threshold: 0.8}")));
  };
  EXPECT_NE(testing::message_of(refuse).find("shape_threshold"), std::string::npos);
}

TEST(OptimalValue, IsTheSoftMaximumOfTheGroup) {
  double value = 0.5 * std::log((std::exp(2.0) + 1) / 2);
  expect_rows(advantage_of<OptimalValue>("{beta: 0.5}", rows({1, 0, kNan}, {1, 1, 1})), {1 - value, -value, 0});
  // Rewards far beyond what exp() holds.
  expect_rows(advantage_of<OptimalValue>("{beta: 0.001}", rows({1, 0}, {1, 1})),
              {0.001 * std::log(2.0), -1 + 0.001 * std::log(2.0)}, 1e-9);
}

TEST(OptimalValue, WeighsThePolicysRowsAsTheReferences) {
  Experience batch = rows({1, 0}, {2, 2});
  batch.ref_logp[0].fill_(std::log(0.5));  // a quarter as likely under the reference
  double value = std::log((0.25 * std::exp(1.0) + 1) / 1.25);
  expect_rows(advantage_of<OptimalValue>("{beta: 1, importance: true}", batch), {1 - value, -value});
}

TEST(Posterior, PseudoRewardsOfEachDivergence) {
  // The reference is the policy: p / pi = e^r / Z.
  double z = (std::exp(1.0) + 1) / 2, a = std::exp(1.0) / z, b = 1 / z;
  Experience batch = rows({1, 0}, {2, 2});
  auto of = [&](const std::string& divergence) {
    return advantage_of<Posterior>("{baseline: false, divergence: " + divergence + "}", batch);
  };
  expect_rows(of("forward_kl"), {a, b});
  expect_rows(of("reverse_kl"), {-(1 - std::log(a)), -(1 - std::log(b))});
  expect_rows(of("jensen_shannon"), {std::log((1 + a) / 2), std::log((1 + b) / 2)});
  expect_rows(of("total_variation"), {0.5, -0.5});
  expect_rows(advantage_of<Posterior>("{divergence: forward_kl}", batch), {(a - b) / 2, (b - a) / 2});
}

TEST(RewardToGo, DiscountsOverDecisionsAndSkipsWhatIsMasked) {
  Experience batch = rows({0, 0}, {4, 2});
  batch.reward = at::tensor({1.0, 9.0, 2.0, 4.0, 3.0, 0.0, 0.0, 0.0}, at::kDouble).view({2, 4});
  batch.mask[0][1].fill_(false);
  Tensor got = advantage_of<RewardToGo>("{gamma: 0.5, whiten: false}", batch);
  EXPECT_TRUE(got.equal(at::tensor({3.0, 0.0, 4.0, 4.0, 3.0, 0.0, 0.0, 0.0}, at::kDouble).view({2, 4})));
}

TEST(RewardToGo, TakesOffTheGroupsMeanAndWhitens) {
  expect_rows(advantage_of<RewardToGo>("{baseline: group, whiten: false}", rows({1, 0}, {2, 1})), {0.5, -0.5});
  Tensor got = advantage_of<RewardToGo>("{}", rows({1, 0, kNan}, {2, 1, 2}));
  EXPECT_NEAR(got.sum().item<double>(), 0, 1e-12);
  EXPECT_NEAR(got.square().sum().item<double>() / 2, 1, 1e-6);  // three decisions, n - 1
  EXPECT_EQ(got[2].abs().sum().item<double>(), 0);
}

TEST(RewardToGo, MinFormIsAboutTheWorstStep) {
  Experience batch = rows({0}, {3});
  batch.reward = at::tensor({0.9, 0.2, 0.8}, at::kDouble).view({1, 3});
  Tensor got = advantage_of<RewardToGo>("{form: min, temperature: 0.01, whiten: false}", batch);
  EXPECT_NEAR(got[0][0].item<double>(), 0.2, 1e-9);
  EXPECT_NEAR(got[0][2].item<double>(), 0.0, 1e-9);
}

TEST(Gae, VTraceEqualsItsDefinition) {
  // Two decisions of one row; ratios 2 (cut to 1) and 0.5.
  Experience batch = rows({0}, {2});
  batch.reward = at::tensor({1.0, 3.0}, at::kDouble).view({1, 2});
  batch.old_logp = at::tensor({std::log(2.0), std::log(0.5)}, at::kDouble).view({1, 2});
  batch.extra.set(extra::old_value, at::tensor({0.5, 2.0}, at::kDouble).view({1, 2}));
  Metrics metrics;
  Gae credit(read_options<Gae::Options>(
      Config::parse("{gamma: 0.9, lambda: 0.8, kl_weight: 0, correction: v_trace, whiten_advantages: false}")));
  credit.assign(batch, metrics);
  double d0 = 1 + 0.9 * 2 - 0.5, d1 = 3 - 2.0, e1 = 0.5 * d1, e0 = d0 + 0.9 * 0.8 * e1;
  Tensor returns = batch.extra.tensor(extra::returns);
  EXPECT_NEAR(returns[0][1].item<double>(), 2 + e1, 1e-12);
  EXPECT_NEAR(returns[0][0].item<double>(), 0.5 + e0, 1e-12);
  EXPECT_NEAR(batch.advantage[0][0].item<double>(), 1 + 0.9 * (2 + e1) - 0.5, 1e-12);
  EXPECT_NEAR(batch.advantage[0][1].item<double>(), 0.5 * d1, 1e-12);
}

TEST(Gae, VTraceOfThePoliciesOwnRowsHasTheReturnsOfGae) {
  Experience batch = rows({1}, {3});
  batch.extra.set(extra::old_value, at::tensor({0.5, 0.1, -0.2}, at::kDouble).view({1, 3}));
  auto returns = [&](const std::string& correction) {
    Experience copy = batch;
    Metrics metrics;
    Gae(read_options<Gae::Options>(Config::parse("{kl_weight: 0, correction: " + correction + "}")))
        .assign(copy, metrics);
    return copy.extra.tensor(extra::returns);
  };
  EXPECT_TRUE(returns("v_trace").allclose(returns("none"), 0, 1e-14));
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

TEST(WinRate, IsTheMeanProbabilityOfBeatingTheOthers) {
  Experience batch = rows({1, 0, 3, kNan}, {2, 1, 1, 1});
  std::vector<double> expected{(logistic(0.5) + logistic(-1)) / 2, (logistic(-0.5) + logistic(-1.5)) / 2,
                               (logistic(1) + logistic(1.5)) / 2};
  for (double& x : expected) x -= 0.5;
  expected.push_back(0);
  expect_rows(advantage_of<WinRate>("{temperature: 2}", batch), expected);
  expect_rows(advantage_of<WinRate>("{temperature: 0}", rows({1, 1, 0}, {1, 1, 1})), {0.25, 0.25, -0.5});
  expect_rows(advantage_of<WinRate>("{}", rows({1}, {1})), {0});
}

TEST(WinRate, AgainstTheAnswersOfOthersOrOneOfTheGroup) {
  Experience batch = rows({1, 0, 3, 0.5}, {1, 1, 1, 1});
  auto missing = testing::message_of<RunError>([&] { advantage_of<WinRate>("{against: given}", batch); });
  EXPECT_NE(missing.find("reference_answers"), std::string::npos);
  batch.extra.set(extra::given, at::tensor({0, 0, 1, 1}).to(at::kBool));
  expect_rows(advantage_of<WinRate>("{against: given}", batch),
              {(logistic(-2) + logistic(0.5)) / 2 - 0.5, (logistic(-3) + logistic(-0.5)) / 2 - 0.5, 0, 0});
  // The first row with a reward is the reference.
  expect_rows(advantage_of<WinRate>("{against: one, temperature: 0}", rows({kNan, 1, 3, 1, 0}, {1, 1, 1, 1, 1})),
              {0, 0, 0.5, 0, -0.5});
}

}  // namespace
}  // namespace rft::baselines_test
