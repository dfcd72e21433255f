#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/extra.h"
#include "rft/select/all.h"
#include "rft/select/best_of_n.h"
#include "rft/select/dynamic_sampling.h"
#include "support.h"

namespace rft::select_test {
namespace {

Experience rows(const std::vector<double>& reward, const std::vector<int64_t>& group) {
  Experience batch;
  batch.reward = at::tensor(reward, at::kFloat);
  batch.group = at::tensor(group, at::kLong);
  batch.mask = at::ones({static_cast<int64_t>(reward.size()), 1}, at::kBool);
  return batch;
}

template <class T>
T make(const std::string& yaml) {
  return T(read_options<typename T::Options>(Config::parse(yaml)));
}

std::vector<int64_t> chosen(Selector& selector, const Experience& batch, Metrics metrics = {}) {
  Tensor index = selector.select(batch, metrics);
  EXPECT_EQ(index.scalar_type(), at::kLong);
  return {index.data_ptr<int64_t>(), index.data_ptr<int64_t>() + index.numel()};
}

using Rows = std::vector<int64_t>;
const double kNan = std::nan("");

TEST(SelectAll, KeepsEveryRowInOrder) {
  auto all = make<SelectAll>("{}");
  EXPECT_EQ(chosen(all, rows({1, 0, kNan}, {0, 0, 1})), (Rows{0, 1, 2}));
  EXPECT_EQ(all.expected_rows(12, 4), 12);
}

TEST(OwnAnswers, KeepOthersWhereThePolicyFails) {
  Experience batch = rows({1, 0, 1, 0, 0, 1, kNan, 1}, {0, 0, 0, 1, 1, 1, 2, 2});
  batch.extra.set(extra::given, at::tensor({0, 0, 1, 0, 0, 1, 0, 1}).to(at::kBool));
  auto own = make<OwnAnswers>("{}");
  EXPECT_EQ(chosen(own, batch), (Rows{0, 1, 3, 4, 6}));
  EXPECT_FALSE(own.needs().reward);
  auto gated = make<OwnAnswers>("{given_below: 0.5}");
  EXPECT_TRUE(gated.needs().reward);
  Metrics metrics;
  Tensor index = gated.select(batch, metrics);
  EXPECT_EQ(chosen(gated, batch), (Rows{0, 1, 3, 4, 5, 6, 7}));
  EXPECT_NEAR(metrics.mean("select/imitated"), 2 / 3., 1e-12);
  auto instead = make<OwnAnswers>("{given_below: 0.5, instead: true}");
  EXPECT_EQ(chosen(instead, batch), (Rows{0, 1, 5, 7}));
  EXPECT_NE(testing::message_of([] { make<OwnAnswers>("{instead: true}"); }).find("given_below"), std::string::npos);
}

TEST(BestOfN, KeepsTheBestOfEachGroupAndTheEarlierOfEquals) {
  auto best = make<BestOfN>("{}");
  EXPECT_EQ(chosen(best, rows({0, 7, 1, 3, 1, kNan}, {4, -1, 4, -1, 4, 8})), (Rows{1, 2}));
  EXPECT_EQ(best.expected_rows(12, 4), 3);
  auto two = make<BestOfN>("{keep: 2}");
  EXPECT_EQ(chosen(two, rows({0, 7, 1, 3, 1}, {4, -1, 4, -1, 4})), (Rows{1, 2, 3, 4}));
  EXPECT_EQ(two.expected_rows(12, 4), 6);
  EXPECT_EQ(make<BestOfN>("{keep: 9}").expected_rows(12, 4), 12);
}

TEST(BestOfN, MinRewardMayLeaveNothing) {
  auto best = make<BestOfN>("{min_reward: 1}");
  EXPECT_EQ(chosen(best, rows({0.5, 1, 0.2}, {0, 0, 1})), (Rows{1}));
  EXPECT_EQ(chosen(best, rows({0.5, 0.9}, {0, 1})), Rows{});
  EXPECT_EQ(best.extra_rollouts(), 0);
}

TEST(BestOfN, MetricsTellHowManyAndHowGood) {
  Metrics metrics;
  make<BestOfN>("{}").select(rows({0, 7, 1, 3}, {0, 1, 0, 1}), metrics);
  EXPECT_EQ(metrics.mean("select/kept"), 0.5);
  EXPECT_EQ(metrics.mean("select/reward"), 4);
}

TEST(DynamicSampling, DropsGroupsWhoseRewardsAreAllEqual) {
  auto dynamic = make<DynamicSampling>("{max_rounds: 3}");
  EXPECT_EQ(chosen(dynamic, rows({1, 0.1f, 0, 0.1f, 5, 0.1f, 2, kNan}, {0, 1, 0, 1, 2, 1, 3, 3})), (Rows{0, 2}));
  EXPECT_EQ(dynamic.extra_rollouts(), 2);
  EXPECT_EQ(chosen(dynamic, rows({1, 1}, {0, 0})), Rows{});
  EXPECT_TRUE(dynamic.needs().reward);
}

TEST(Selectors, WithoutRewardsSaySo) {
  Experience batch = rows({1, 1}, {0, 0});
  batch.reward = Tensor();
  Metrics metrics;
  EXPECT_NE(testing::message_of<RunError>([&] { make<BestOfN>("{}").select(batch, metrics); }).find("reward"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::select_test
