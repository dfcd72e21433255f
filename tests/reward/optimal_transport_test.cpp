// Plans against POT's; rewards of episodes.
#include "rft/reward/optimal_transport.h"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "rft/core/extra.h"
#include "support.h"

namespace rft::optimal_transport_test {
namespace {

using Json = nlohmann::json;

Tensor matrix_of(const Json& json) {
  std::vector<Tensor> rows;
  for (const Json& row : json) rows.push_back(at::tensor(row.get<std::vector<double>>(), at::kDouble));
  return at::stack(rows);
}

TEST(OptimalTransport, PlansAreThePeers) {
  for (const Json& one : Json::parse(testing::read_file(testing::fixture("parity/data/transport.json")))) {
    TransportPlan got = sinkhorn(matrix_of(one["cost"]), one["epsilon"], 5000);
    EXPECT_LE(got.plan.sub(matrix_of(one["plan"])).abs().max().item<double>(), 1e-8);
    EXPECT_LE(got.error, 1e-8);
  }
}

/// Episodes of one number that runs from `from` to `to`.
Experience run_of(double from, double to, int64_t steps) {
  Experience out;
  out.extra.set(extra::raw_observation, at::linspace(from, to, steps, at::kDouble).view({1, steps, 1}));
  Tensor last = at::zeros({1, steps}, at::kBool);
  last[0][steps - 1] = true;
  out.extra.set(extra::last, last);
  out.mask = at::ones({1, steps}, at::kBool), out.group = at::zeros({1}, at::kLong);
  return out;
}

OptimalTransport reward_of(const testing::TempDir& dir, const std::string& options = "") {
  testing::write_file(dir / "shown.jsonl",
                      "{\"observations\": [[0], [1], [2], [3]]}\n{\"observations\": [[0], [-1], [-2]]}\n");
  return OptimalTransport(read_options<OptimalTransport::Options>(
      Config::parse("{demonstrations: " + dir / "shown.jsonl" + ", cost: euclidean, epsilon: 0.01, standardize: false" +
                    options + "}")));
}

TEST(OptimalTransport, WhatGoesTheSameWayIsWorthMore) {
  testing::TempDir dir;
  OptimalTransport reward = reward_of(dir);
  auto total = [&](double from, double to) {
    return reward.score(run_of(from, to, 4)).components[0].value.item<double>();
  };
  EXPECT_NEAR(total(0, 3), 0, 1e-3);          // as the first was shown
  EXPECT_NEAR(total(0, -2), -2.0 / 9, 1e-3);  // near the second: by hand
  EXPECT_NEAR(total(3, 0), 0, 1e-3);          // the order in time does not matter to a plan
  EXPECT_NEAR(total(10, 13), -10, 1e-2);
  // A decision's reward is its share: all the way is the same everywhere here.
  Rewards far = reward.score(run_of(10, 13, 4));
  EXPECT_NEAR(far.value.sum().item<double>(), -10, 1e-2);
  EXPECT_EQ(far.value.sizes(), (std::vector<int64_t>{1, 4}));
}

TEST(OptimalTransport, PaddingIsNothingAndALostEpisodeIsMissing) {
  testing::TempDir dir;
  OptimalTransport reward = reward_of(dir, ", features: [0], scale: 2");
  Experience batch = run_of(0, 2, 3);
  Rewards alone = reward.score(batch);
  Experience wide;
  for (const char* name : {extra::raw_observation, extra::last}) {
    Tensor x = batch.extra.tensor(name), more = at::full_like(x, 7);
    wide.extra.set(name, at::cat({at::cat({x, more}, 1), at::zeros_like(at::cat({x, more}, 1))}));
  }
  wide.mask = at::cat({at::cat({batch.mask, batch.mask.logical_not()}, 1), at::zeros({1, 6}, at::kBool)});
  wide.extra.set(extra::last, wide.extra.tensor(extra::last).logical_and(wide.mask));
  Rewards both = reward.score(wide);
  EXPECT_LE(both.value[0].narrow(0, 0, 3).sub(alone.value[0]).abs().max().item<double>(), 1e-7);
  EXPECT_EQ(both.value[0].narrow(0, 3, 3).abs().sum().item<double>(), 0);
  EXPECT_TRUE(std::isnan(both.components[0].value[1].item<double>()));
}

TEST(OptimalTransport, WhatDoesNotFitIsNamed) {
  testing::TempDir dir;
  OptimalTransport reward = reward_of(dir);
  Experience segment = run_of(0, 2, 3);
  segment.extra.set(extra::last, at::zeros({1, 3}, at::kBool));
  EXPECT_NE(testing::message_of<UserError>([&] { reward.score(segment); }).find("whole episodes"), std::string::npos);
  testing::write_file(dir / "other.jsonl", "{\"observations\": [[0, 1]]}\n");
  OptimalTransport wrong(
      read_options<OptimalTransport::Options>(Config::parse("{demonstrations: " + dir / "other.jsonl" + "}")));
  EXPECT_NE(testing::message_of<UserError>([&] { wrong.score(run_of(0, 1, 2)); }).find("other.jsonl:1"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::optimal_transport_test
