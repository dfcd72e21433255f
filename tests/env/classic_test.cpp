// Classic control beside Gymnasium (tests/parity/make_classic.py); the worlds that are ours against their definitions.
#include "rft/env/classic.h"

#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/registry.h"
#include "rft/env/hypergrid.h"
#include "rft/env/point_mass.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::classic_test {
namespace {

std::unique_ptr<Environment> make(const std::string& yaml) {
  register_builtins();
  return registry<Environment>().make(Config::parse(yaml));
}

std::vector<double> numbers(const Tensor& x) {
  Tensor all = x.to(at::kDouble).contiguous();
  return {all.data_ptr<double>(), all.data_ptr<double>() + all.numel()};
}

class Classic : public ::testing::TestWithParam<std::string> {};

TEST_P(Classic, EqualsGymnasium) {
  auto file = load_safetensors(testing::fixture("parity/data/classic.safetensors"));
  auto recorded = [&](const char* key) { return file.tensors.at(GetParam() + "." + key); };
  auto world = make("{type: " + GetParam() + "}");
  Tensor states = recorded("states");
  auto actions = numbers(recorded("actions")), rewards = numbers(recorded("rewards")), ends = numbers(recorded("ends"));
  ASSERT_GE(actions.size(), 10u);
  std::vector<double> observation(static_cast<size_t>(world->spec().observation));
  world->reset(0, observation);
  world->set_state(numbers(states[0]));
  // Gymnasium keeps this one's state in float32.
  bool rounded = GetParam() == "mountain_car";
  double tolerance = rounded ? 6e-8 : 1e-9;
  for (size_t t = 0; t < actions.size(); ++t) {
    double reward = 0;
    if (rounded) world->set_state(numbers(states[static_cast<int64_t>(t)]));
    bool ended = world->step({&actions[t], 1}, observation, {&reward, 1});
    ASSERT_NEAR(reward, rewards[t], 1e-9) << "step " << t;
    ASSERT_EQ(ended, ends[t] != 0) << "step " << t;
    auto now = world->state(), expected = numbers(states[static_cast<int64_t>(t) + 1]);
    for (size_t i = 0; i < now.size(); ++i)
      ASSERT_NEAR(now[i], expected[i], tolerance) << "step " << t << " number " << i;
  }
}

TEST_P(Classic, DrawsItself) {
  auto world = make("{type: " + GetParam() + "}");
  std::vector<double> observation(static_cast<size_t>(world->spec().observation));
  world->reset(0, observation);
  Tensor before = dynamic_cast<Rendered&>(*world).render(48, 64);
  EXPECT_EQ(before.sizes(), at::IntArrayRef({3, 48, 64}));
  EXPECT_GE(before.min().item<float>(), 0);
  EXPECT_LE(before.max().item<float>(), 1);
  EXPECT_GT(before.std().item<float>(), 0.02);
  std::vector<double> action(1, 1.0);
  double reward;
  for (int t = 0; t < 8; ++t) world->step(action, observation, {&reward, 1});
  EXPECT_FALSE(before.equal(dynamic_cast<Rendered&>(*world).render(48, 64)));
}

INSTANTIATE_TEST_SUITE_P(All, Classic, ::testing::Values("cart_pole", "pendulum", "acrobot", "mountain_car"),
                         [](const auto& task) { return task.param; });

TEST(PointMass, AgentsSeeEachOtherAndArePaidTheirDistance) {
  auto world = make("{type: point_mass, agents: 2, control_cost: 0, collision_cost: 0.5, drag: 0, acceleration: 1}");
  EXPECT_EQ(world->spec().agents, 2);
  EXPECT_EQ(world->spec().observation, 6);
  // Agent 0 stands at its goal and agent 1 1 m above it, its goal 2 m above it.
  world->set_state({0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2});
  std::vector<double> observation(12), reward(2);
  EXPECT_FALSE(world->step(std::vector<double>{0, 0, 0, 5}, observation, reward));  // clipped to 1
  EXPECT_NEAR(reward[0], 0, 1e-12);
  EXPECT_NEAR(reward[1], -(1 - 0.01), 1e-12);
  EXPECT_NEAR(observation[5], 1.01, 1e-12);    // from 0 to 1
  EXPECT_NEAR(observation[11], -1.01, 1e-12);  // and back
  EXPECT_NEAR(observation[7], 0.1, 1e-12);     // its speed
  world->set_state({0, 0, 0, 0, 0, 0, 0, 0.1, 0, 0, 0, 0.1});
  world->step(std::vector<double>(4, 0.0), observation, reward);
  EXPECT_NEAR(reward[0], -0.5, 1e-12);
  auto shared = make("{type: point_mass, agents: 2, shared_reward: true}");
  shared->reset(0, observation);
  shared->step(std::vector<double>(4, 0.5), observation, reward);
  EXPECT_EQ(reward[0], reward[1]);
}

TEST(HypergridWorld, WalksFromTheCornerAndPaysAtTheStop) {
  Hypergrid grid({});
  std::vector<double> observation(static_cast<size_t>(grid.spec().observation)), reward(1);
  grid.reset(0, observation);
  EXPECT_EQ(observation[0] + observation[8], 2);
  auto act = [&](double choice) { return grid.step({&choice, 1}, observation, reward); };
  EXPECT_FALSE(act(0));
  EXPECT_EQ(grid.backward_logp(), 0);  // from (1, 0) there is one way back
  EXPECT_FALSE(act(1));
  EXPECT_NEAR(grid.backward_logp(), -std::log(2.0), 1e-12);
  EXPECT_EQ(reward[0], 0);
  EXPECT_TRUE(act(2));
  EXPECT_NEAR(reward[0], 0.1 + 0.5 + 2, 1e-12);  // (1, 1) is a mode of the 8 x 8 grid
  EXPECT_NEAR(grid.reward_of(std::vector<double>{0, 0}), 0.6, 1e-12);
  EXPECT_NEAR(grid.reward_of(std::vector<double>{3, 4}), 0.1, 1e-12);
}

TEST(HypergridWorld, SaysWhichChoicesAreAllowed) {
  Hypergrid grid({.dimensions = 1, .side = 2});
  std::vector<double> observation(4), reward(1);
  grid.reset(0, observation);
  EXPECT_EQ(observation, (std::vector<double>{1, 0, 1, 1}));
  double add = 0;
  grid.step({&add, 1}, observation, reward);
  EXPECT_EQ(observation, (std::vector<double>{0, 1, 0, 1}));
  std::string message = testing::message_of<RunError>([&] { grid.step({&add, 1}, observation, reward); });
  EXPECT_NE(message.find("coordinate 0"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::classic_test
