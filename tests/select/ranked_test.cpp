/// Selectors that rank groups, rows or contexts.
#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "rft/core/extra.h"
#include "rft/select/gvm.h"
#include "rft/select/pass_rate.h"
#include "rft/select/ranked_groups.h"
#include "support.h"

namespace rft {
namespace {

using Rows = std::vector<int64_t>;
const double kNan = std::nan("");

Experience rows(const std::vector<double>& reward, const Rows& group) {
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
  auto selector = make<Gvm>("{penalty: 0.0025, decay: 1}");
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
  auto restored = make<Gvm>("{penalty: 0.0025, decay: 1}");
  restored.load_state(selector.state());
  EXPECT_EQ(restored.allocate({0, 1, 2}, 30), counts);
  EXPECT_EQ(selector.allocate({4, 5}, 1).size(), 2u);  // fewer answers than contexts
}

}  // namespace
}  // namespace rft
