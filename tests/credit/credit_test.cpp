#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "rft/core/extra.h"
#include "rft/credit/group_normalized.h"
#include "rft/credit/leave_one_out.h"
#include "support.h"

namespace rft::credit_test {
namespace {

using nlohmann::json;

Tensor numbers(const json& list) {
  std::vector<double> flat;
  auto push = [&](const json& x) { flat.push_back(x.is_null() ? std::nan("") : x.get<double>()); };
  for (const auto& row : list) {
    if (!row.is_array())
      push(row);
    else
      for (const auto& x : row) push(x);
  }
  return at::tensor(flat, at::kDouble).view({static_cast<int64_t>(list.size()), -1});
}

template <class T>
std::unique_ptr<Credit> make(const std::string& yaml) {
  return std::make_unique<T>(read_options<typename T::Options>(Config::parse(yaml), {"type"}));
}

std::unique_ptr<Credit> make(const json& options) {
  return options.at("type") == "leave_one_out" ? make<LeaveOneOut>(options.dump())
                                               : make<GroupNormalized>(options.dump());
}

/// Rows with one reward each and two decisions, the second masked in every other row.
Experience rows(const std::vector<double>& reward, const std::vector<int64_t>& group) {
  Experience batch;
  auto n = static_cast<int64_t>(reward.size());
  batch.reward = at::tensor(reward, at::kDouble);
  batch.group = at::tensor(group, at::kLong);
  batch.mask = at::ones({n, 2}, at::kBool);
  for (int64_t i = 1; i < n; i += 2) batch.mask[i][1].fill_(false);
  return batch;
}

Experience trl_batch(const json& data) {
  Experience batch;
  batch.reward = numbers(data.at("reward")).squeeze(1);
  batch.group = at::tensor(data.at("group").get<std::vector<int64_t>>(), at::kLong);
  batch.mask = numbers(data.at("mask")).to(at::kBool);
  batch.logp = numbers(data.at("logp"));
  batch.ref_logp = numbers(data.at("ref_logp"));
  Tensor weights = at::tensor(data.at("weights").get<std::vector<double>>(), at::kDouble);
  batch.extra.set(extra::reward_components, numbers(data.at("components")));
  batch.extra.set(extra::reward_weights, weights.expand({batch.reward.size(0), 2}).contiguous());
  return batch;
}

TEST(Trl, AdvantagesAndMetricsEqualItsOwn) {
  const json data = json::parse(testing::read_file(testing::fixture("parity/data/trl/losses.json"))).at("credit");
  ASSERT_EQ(data.at("cases").size(), 7u);
  for (const auto& [name, one] : data.at("cases").items()) {
    SCOPED_TRACE(name);
    Experience batch = trl_batch(data);
    Metrics metrics;
    make(one.at("options"))->assign(batch, metrics);
    Tensor expected = numbers(one.at("advantage")).mul(batch.mask);
    EXPECT_LE(batch.advantage.sub(expected).abs().max().item<double>(), 1e-10);
    EXPECT_NEAR(metrics.mean("reward"), data.at("reward_mean").get<double>(), 1e-12);
    EXPECT_NEAR(metrics.mean("reward_std"), data.at("reward_std").get<double>(), 1e-12);
  }
}

TEST(GroupNormalized, OrderAndNumbersOfGroupsDoNotMatter) {
  Experience straight = rows({1, 0, 0.5, 2, 2, 5}, {0, 0, 0, 1, 1, 1});
  Experience mixed = rows({2, 1, 2, 0, 0.5, 5}, {-7, 1000000007, -7, 1000000007, 1000000007, -7});
  mixed.mask.fill_(true), straight.mask.fill_(true);
  Metrics metrics;
  auto credit = make<GroupNormalized>("{}");
  credit->assign(straight, metrics);
  credit->assign(mixed, metrics);
  auto at_row = [](const Experience& b, int64_t i) { return b.advantage[i][0].item<double>(); };
  int64_t order[] = {3, 0, 4, 1, 2, 5};
  for (int64_t i = 0; i < 6; ++i) EXPECT_DOUBLE_EQ(at_row(mixed, i), at_row(straight, order[i]));
}

TEST(GroupNormalized, OneMemberGroupsAndEqualRewardsTeachNothing) {
  for (std::string options : {"{}", "{scale: none}", "{scale: batch}"}) {
    Experience batch = rows({3, 0.1, 0.1, 0.1, std::nan(""), 1}, {5, 2, 2, 2, 9, 9});
    Metrics metrics;
    make<GroupNormalized>(options)->assign(batch, metrics);
    EXPECT_LT(batch.advantage.abs().max().item<double>(), 1e-12) << options;
    EXPECT_LT(batch.extra.tensor(extra::reward_std).abs().max().item<double>(), 1e-12) << options;
    EXPECT_NEAR(metrics.mean("reward"), 4.3 / 5, 1e-12);
  }
  Experience alone = rows({3, 1}, {0, 1});
  Metrics metrics;
  make<LeaveOneOut>("{kl_weight: 0}")->assign(alone, metrics);
  EXPECT_EQ(alone.advantage.abs().max().item<double>(), 0);
  EXPECT_EQ(metrics.mean("frac_reward_zero_std"), 1);
}

TEST(GroupNormalized, StandsAtEveryDecisionAndIsZeroWhereMasked) {
  Experience batch = rows({1, 0}, {0, 0});
  Metrics metrics;
  make<GroupNormalized>("{}")->assign(batch, metrics);
  EXPECT_EQ(batch.advantage.sizes(), batch.mask.sizes());
  EXPECT_EQ(batch.advantage[0][0].item<double>(), batch.advantage[0][1].item<double>());
  EXPECT_LT(batch.advantage[1][0].item<double>(), 0);
  EXPECT_EQ(batch.advantage[1][1].item<double>(), 0);
  EXPECT_NEAR(batch.extra.tensor(extra::reward_std)[0].item<double>(), std::sqrt(0.5), 1e-12);
}

TEST(GroupNormalized, RewardsOfDecisionsAreAddedUp) {
  Experience steps = rows({0, 0, 0}, {0, 0, 0}), sums = rows({3, 4, 8}, {0, 0, 0});
  steps.reward = at::tensor({1.0, 2.0, 4.0, 100.0, 3.0, 5.0}, at::kDouble).view({3, 2});  // 100 is masked
  Metrics metrics;
  make<GroupNormalized>("{}")->assign(steps, metrics);
  make<GroupNormalized>("{}")->assign(sums, metrics);
  EXPECT_TRUE(steps.advantage.equal(sums.advantage));
}

TEST(RewardOptions, EachKlEstimatorLowersTheReward) {
  auto x = std::vector<double>{0.3, -0.2};  // logp - ref_logp of the first row; the second row has none
  auto shift = [&](const std::string& estimator) {
    Experience batch = rows({1, 1}, {0, 0});
    batch.logp = at::tensor({x[0], x[1], 0.0, std::nan("")}, at::kDouble).view({2, 2});
    batch.ref_logp = at::zeros({2, 2}, at::kDouble);
    Metrics metrics;
    auto credit = make<GroupNormalized>("{scale: none, kl_weight: 0.5, kl_estimator: " + estimator + "}");
    EXPECT_TRUE(credit->needs().ref_logp);
    credit->assign(batch, metrics);
    EXPECT_NEAR(metrics.mean("kl"), -batch.advantage[0][0].item<double>() * 4 / 3, 1e-12);
    return -4 * batch.advantage[0][0].item<double>();  // A = -(0.5 kl) / 2
  };
  EXPECT_NEAR(shift("k1"), 0.1, 1e-12);
  EXPECT_NEAR(shift("k2"), (0.09 + 0.04) / 2, 1e-12);
  EXPECT_NEAR(shift("k3"), std::exp(-0.3) + 0.3 - 1 + std::exp(0.2) - 0.2 - 1, 1e-12);
}

TEST(RewardOptions, ContradictionsAreRefused) {
  auto refuse = [](const std::string& yaml) { return testing::message_of([&] { make<GroupNormalized>(yaml); }); };
  EXPECT_NE(refuse("{reward_clip: [1]}").find("[low, high]"), std::string::npos);
  EXPECT_NE(refuse("{reward_clip: [1, 0]}").find("low below high"), std::string::npos);
  EXPECT_NE(refuse("{aggregation: normalize_then_sum, kl_weight: 0.1}").find("sum_then_normalize"), std::string::npos);
}

}  // namespace
}  // namespace rft::credit_test
