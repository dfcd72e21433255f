// The driving scene beside its definition: how vehicles move, crash, and what they are paid.
#include "rft/env/driving.h"

#include <ATen/ATen.h>

#include <cmath>

#include "support.h"

namespace rft::driving_test {
namespace {

/// A state of vehicles {x, y, heading, speed, goal x, goal y, crashed} that came from nowhere.
std::vector<double> state_of(const Driving& world, const std::vector<std::vector<double>>& vehicles) {
  std::vector<double> out;
  for (const auto& vehicle : vehicles) out.insert(out.end(), vehicle.begin(), vehicle.end());
  out.resize(world.state().size());
  return out;
}

struct Stepped {
  std::vector<double> observation;
  double reward = 0;
};

Stepped step(Driving& world, const std::vector<double>& action) {
  Stepped out;
  out.observation.resize(static_cast<size_t>(world.spec().observation));
  EXPECT_FALSE(world.step(action, out.observation, {&out.reward, 1}));
  return out;
}

TEST(Driving, AVehicleGoesWhereItIsSteered) {
  Driving world({.vehicles = 1});
  world.set_state(state_of(world, {{-10, -2, 0, 6, 15, -2, 0}}));
  Stepped straight = step(world, {0, 0});
  EXPECT_NEAR(straight.observation[0], -7, 1e-12);
  EXPECT_NEAR(straight.reward, 0.1 * 3, 1e-12);
  // Five parts of 0.1 s at 6.4, 6.8, .. m/s; beyond the most there is, it is the most.
  world.set_state(state_of(world, {{-10, -2, 0, 6, 15, -2, 0}}));
  Stepped faster = step(world, {7, 0});
  EXPECT_NEAR(faster.observation[0], -10 + 3.6, 1e-12);
  EXPECT_NEAR(faster.observation[4], 8, 1e-12);
  // A turn to the left of 0.15 a part.
  world.set_state(state_of(world, {{0, 0, 0, 6, 15, -2, 0}}));
  Stepped turned = step(world, {0, 1});
  double x = 0, y = 0;
  for (int k = 1; k <= 5; ++k) x += 0.6 * std::cos(0.15 * k), y += 0.6 * std::sin(0.15 * k);
  EXPECT_NEAR(turned.observation[0], x, 1e-12);
  EXPECT_NEAR(turned.observation[1], y, 1e-12);
  EXPECT_NEAR(turned.observation[2], std::cos(0.75), 1e-12);
  // Off the road, and going further from the goal.
  world.set_state(state_of(world, {{-10, 6, std::acos(-1.0), 2, 15, 6, 0}}));
  EXPECT_NEAR(step(world, {0, 0}).reward, -0.1 - 0.5, 1e-12);
}

TEST(Driving, ThoseWhoTouchCrashAndStay) {
  Driving world({.vehicles = 3, .progress_weight = 0});
  const double pi = std::acos(-1.0);
  // Two go head on at 4 m/s each, their outlines 2 m apart; the third is far.
  world.set_state(
      state_of(world, {{0, -2, 0, 4, 15, -2, 0}, {6.4, -2, pi, 4, -15, -2, 0}, {2, 18, pi / 2, 4, 2, 30, 0}}));
  Stepped met = step(world, std::vector<double>(6));
  EXPECT_NEAR(met.reward, -4.0 * 2 / 3, 1e-12);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(met.observation[8 * i + 7], 1);
    EXPECT_EQ(met.observation[8 * i + 4], 0);
  }
  EXPECT_EQ(met.observation[23], 0);
  EXPECT_LT(met.observation[24], 0);  // the gap between the first two
  EXPECT_EQ(met.observation[25], 10);
  Stepped later = step(world, {1, 0, 1, 0, 0, 0});
  EXPECT_EQ(later.observation[0], met.observation[0]);
  EXPECT_EQ(later.reward, 0);  // a crash is paid once
}

TEST(Driving, EpisodesBeginApartEachOnItsWay) {
  Driving world({});
  std::vector<double> seen(static_cast<size_t>(world.spec().observation));
  EXPECT_EQ(seen.size(), 4u * 8 + 6);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    world.reset(seed, seen);
    for (size_t i = 0; i < 4; ++i) {
      const double* v = seen.data() + 8 * i;
      double along = v[0] * v[2] + v[1] * v[3], right = v[0] * v[3] - v[1] * v[2];
      EXPECT_TRUE(along >= -20 && along <= -10) << along;
      EXPECT_NEAR(right, 2, 1e-9);  // in the right lane
      EXPECT_TRUE(v[4] >= 4 && v[4] < 8);
      double back = (v[0] + v[5]) * v[2] + (v[1] + v[6]) * v[3];
      EXPECT_GT(back, -3) << "the goal is not on the arm it came from";
    }
    for (size_t k = 32; k < seen.size(); ++k) EXPECT_GT(seen[k], 0);
  }
}

TEST(Driving, GoesOnFromAStateAndDrawsItself) {
  Driving a({}), b({});
  std::vector<double> seen(static_cast<size_t>(a.spec().observation)), action(8, 0.3);
  a.reset(4, seen);
  Tensor before = a.render(48, 64);
  for (int t = 0; t < 20; ++t) step(a, action);  // more than the trail holds
  b.set_state(a.state());
  Stepped one = step(a, action), other = step(b, action);
  EXPECT_EQ(one.observation, other.observation);
  EXPECT_EQ(one.reward, other.reward);
  EXPECT_TRUE(a.render(48, 64).equal(b.render(48, 64)));
  EXPECT_EQ(before.sizes(), at::IntArrayRef({3, 48, 64}));
  EXPECT_FALSE(before.equal(a.render(48, 64)));
  EXPECT_NE(testing::message_of<UserError>([&] { b.set_state({1, 2}); }).find("numbers"), std::string::npos);
}

}  // namespace
}  // namespace rft::driving_test
