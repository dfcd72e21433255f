#include "rft/select/best_worst.h"

#include <ATen/ATen.h>

#include <cmath>

#include "support.h"

namespace rft::best_worst_test {
namespace {

using Rows = std::vector<int64_t>;
const double kNan = std::nan("");

Rows chosen(const std::vector<double>& reward, const Rows& group, Metrics* metrics = nullptr) {
  Experience batch;
  batch.reward = at::tensor(reward, at::kFloat);
  batch.group = at::tensor(group, at::kLong);
  batch.mask = at::ones({static_cast<int64_t>(reward.size()), 1}, at::kBool);
  Metrics unread;
  Tensor index = BestWorst({}).select(batch, metrics ? *metrics : unread);
  EXPECT_EQ(index.scalar_type(), at::kLong);
  return {index.data_ptr<int64_t>(), index.data_ptr<int64_t>() + index.numel()};
}

TEST(BestWorst, PairsTheBestOfEachGroupWithItsWorstTheBestFirst) {
  EXPECT_EQ(chosen({0.2, 5, 0.9, 7, 0.1, 6}, {4, -1, 4, -1, 4, -1}), (Rows{2, 3, 4, 1}));
  EXPECT_EQ(chosen({1, 1, 0, 0}, {0, 0, 0, 0}), (Rows{0, 2}));
  EXPECT_EQ(chosen({-2, -1}, {7, 7}), (Rows{1, 0}));
}

TEST(BestWorst, GroupsWithoutADifferenceAreDropped) {
  EXPECT_EQ(chosen({1, 1, 0, 2, 3, kNan, 5}, {0, 0, 1, 1, 2, 2, 3}), (Rows{3, 2}));
  EXPECT_EQ(chosen({1, 1, kNan}, {0, 0, 1}), Rows{});
}

TEST(BestWorst, AFailedRewardIsNeitherBestNorWorst) {
  EXPECT_EQ(chosen({kNan, 1, kNan, 0, kNan}, {0, 0, 0, 0, 0}), (Rows{1, 3}));
}

TEST(BestWorst, MetricsTellHowManyAndHowFarApart) {
  Metrics metrics;
  chosen({0, 1, 5, 2, 4, 4}, {0, 0, 1, 1, 2, 2}, &metrics);
  EXPECT_NEAR(metrics.mean("select/kept"), 4.0 / 6, 1e-12);
  EXPECT_EQ(metrics.mean("select/margin"), 2);
  BestWorst selector({});
  EXPECT_EQ(selector.expected_rows(24, 8), 6);
  EXPECT_EQ(selector.expected_rows(6, 1), 0);
  EXPECT_TRUE(selector.needs().reward);
}

}  // namespace
}  // namespace rft::best_worst_test
