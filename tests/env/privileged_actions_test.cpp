// privileged_actions: how the help is taken away, and that nothing of it stays.
#include "rft/env/privileged_actions.h"

#include <cmath>

#include "rft/core/registry.h"
#include "rft/env/classic.h"
#include "rft/env/hypergrid.h"
#include "support.h"

namespace rft::privileged_actions_test {
namespace {

std::unique_ptr<Environment> make(const std::string& type) {
  register_builtins();
  return registry<Environment>().make(Config::parse("{type: " + type + "}"));
}

std::unique_ptr<Environment> helped(const std::string& type, PrivilegedActions::Options options) {
  return PrivilegedActions(options).around(make(type));
}

TEST(PrivilegedActions, AnActionIsTheWorldsAndAForce) {
  auto world = helped("mountain_car", {.anneal_steps = 1});
  EXPECT_EQ(world->spec().action.low, (std::vector<double>{-1, -1}));
  EXPECT_EQ(world->spec().action.high, (std::vector<double>{1, 1}));
  EXPECT_EQ(world->spec().observation, 2);
  EXPECT_EQ(world->spec().name, "mountain_car");
}

TEST(PrivilegedActions, HelpIsHeldThenGoesDownToNothing) {
  auto world = helped("mountain_car", {.hold_steps = 100, .anneal_steps = 300});
  auto& annealed = dynamic_cast<Annealed&>(*world);
  EXPECT_EQ(annealed.progress(0), 1);
  EXPECT_EQ(annealed.progress(100), 1);
  EXPECT_NEAR(annealed.progress(250), 0.5, 1e-12);
  EXPECT_GT(annealed.progress(399), 0);
  EXPECT_EQ(annealed.progress(400), 0);
  EXPECT_EQ(annealed.progress(1000000), 0);
}

TEST(PrivilegedActions, AForceIsASecondEngineAndSlackWeakensTheSlope) {
  std::vector<double> seen(2), reward(1), start{-0.5, 0};
  double slope = 0.0025 * std::cos(-1.5);
  auto world = helped("mountain_car", {.force = 2, .slack = 0.5, .force_cost = 3, .anneal_steps = 100});
  dynamic_cast<Annealed&>(*world).progress(50);
  world->reset(0, seen), world->set_state(start);
  world->step(std::vector<double>{0.5, -5}, seen, reward);  // a force is within [-1, 1]
  EXPECT_NEAR(seen[1], (0.5 - 0.5 * 2) * 0.0015 - 0.75 * slope, 1e-12);
  EXPECT_NEAR(reward[0], -0.1 * 0.25 - 3 * 0.5, 1e-12);
}

class HelpedTasks : public ::testing::TestWithParam<std::string> {};

TEST_P(HelpedTasks, WithoutHelpItIsTheTaskBitForBit) {
  PrivilegedActions::Options options{.force = 1, .slack = 0.5, .force_cost = 1, .anneal_steps = 1000};
  auto plain = make(GetParam()), never = helped(GetParam(), options), after = helped(GetParam(), options);
  auto& annealed = dynamic_cast<Annealed&>(*after);
  size_t own = plain->spec().action.low.size(), all = never->spec().action.low.size();
  std::vector<double> a(static_cast<size_t>(plain->spec().observation)), b(a), c(a), ra(1), rb(1), rc(1);
  after->reset(1, c);
  annealed.progress(500);
  std::vector<double> action(all, 0.9);
  for (int t = 0; t < 5; ++t) after->step(action, c, rc);  // helped
  annealed.progress(1000);
  plain->reset(7, a), never->reset(7, b), after->reset(7, c);
  for (int t = 0; t < 40; ++t) {
    for (size_t i = 0; i < all; ++i) action[i] = std::sin(0.7 * t + static_cast<double>(i));
    bool ended = plain->step(std::span<const double>(action).first(own), a, ra);
    EXPECT_EQ(never->step(action, b, rb), ended);
    EXPECT_EQ(after->step(action, c, rc), ended);
    ASSERT_EQ(a, b) << t;
    ASSERT_EQ(a, c) << t;
    EXPECT_EQ(ra, rb);
    EXPECT_EQ(ra, rc);
  }
}

TEST_P(HelpedTasks, HelpChangesWhatHappens) {
  for (double slack : {0.0, 1.0}) {
    auto plain = make(GetParam()), world = helped(GetParam(), {.force = 1 - slack, .slack = slack, .anneal_steps = 9});
    dynamic_cast<Annealed&>(*world).progress(0);
    std::vector<double> a(static_cast<size_t>(plain->spec().observation)), b(a), reward(1);
    plain->reset(7, a), world->reset(7, b);
    std::vector<double> action(world->spec().action.low.size(), 0.5);
    for (int t = 0; t < 5; ++t) {
      plain->step(std::span<const double>(action).first(plain->spec().action.low.size()), a, reward);
      world->step(action, b, reward);
    }
    EXPECT_NE(a, b) << slack;
  }
}

#ifdef RFT_HAS_MUJOCO
INSTANTIATE_TEST_SUITE_P(All, HelpedTasks, ::testing::Values("mountain_car", "pendulum", "hopper", "ant"),
                         [](const auto& task) { return task.param; });

TEST(PrivilegedActions, AForceOfOneBearsARobot) {
  // Its weight taken off, or held by a force of the same size, a torso does not fall.
  for (double slack : {0.0, 1.0}) {
    auto world = helped("hopper", {.force = 1, .slack = slack, .anneal_steps = 9});
    dynamic_cast<Annealed&>(*world).progress(0);
    std::vector<double> seen(11), reward(1);
    world->reset(3, seen);
    double height = seen[0];
    for (int t = 0; t < 30; ++t) world->step(std::vector<double>{0, 0, 0, 0, 0, slack > 0 ? 0.0 : 1.0}, seen, reward);
    EXPECT_GT(seen[0], height - 0.05) << slack;
  }
}
#else
INSTANTIATE_TEST_SUITE_P(All, HelpedTasks, ::testing::Values("mountain_car", "pendulum"),
                         [](const auto& task) { return task.param; });
#endif

TEST(PrivilegedActions, NeedsATaskThatCanBeHelped) {
  for (const char* type : {"hypergrid", "cart_pole", "point_mass"}) {
    std::string message = testing::message_of<UserError>([&] { helped(type, {.anneal_steps = 1}); });
    EXPECT_NE(message.find(std::string("got '") + type), std::string::npos) << message;
  }
  register_builtins();
  std::string message = testing::message_of<UserError>(
      [] { registry<EnvironmentWrapper>().make(Config::parse("{type: privileged_actions}")); });
  EXPECT_NE(message.find("anneal_steps"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::privileged_actions_test
