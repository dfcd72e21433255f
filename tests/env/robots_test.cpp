// Robots beside Gymnasium (tests/parity/make_robots.py), and what Gymnasium cannot show: states that go on bit for bit.
#include "rft/env/robots.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "rft/core/registry.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::robots_test {
namespace {

const std::vector<std::string> kTasks = {"inverted_pendulum", "reacher",      "pusher", "hopper",
                                         "walker2d",          "half_cheetah", "ant"};

std::unique_ptr<Environment> make(const std::string& yaml) {
  register_builtins();
  return registry<Environment>().make(Config::parse(yaml));
}

/// The robot, and room for what it answers.
struct Lived {
  explicit Lived(const std::string& yaml) : environment(make(yaml)) {
    observation.resize(static_cast<size_t>(environment->spec().observation));
  }
  bool step(const std::vector<double>& action) { return environment->step(action, observation, {&reward, 1}); }
  size_t actions() const { return static_cast<size_t>(environment->spec().action.size()); }

  std::unique_ptr<Environment> environment;
  std::vector<double> observation;
  double reward = 0;
};

class Robots : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
#ifndef RFT_HAS_MUJOCO
    GTEST_SKIP() << "built without MuJoCo";
#endif
    static const SafetensorsFile file = load_safetensors(testing::fixture("parity/data/robots.safetensors"));
    file_ = &file;
  }
  Tensor recorded(const std::string& key) const { return file_->tensors.at(GetParam() + "." + key).to(at::kDouble); }
  std::vector<double> numbers(const std::string& key) const {
    Tensor x = recorded(key).contiguous();
    return {x.data_ptr<double>(), x.data_ptr<double>() + x.numel()};
  }

 private:
  const SafetensorsFile* file_ = nullptr;
};

double furthest(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double out = 0;
  for (size_t i = 0; i < a.size(); ++i) out = std::max(out, std::abs(a[i] - b[i]));
  return out;
}

TEST_P(Robots, EqualGymnasiumOverAThousandSteps) {
  Lived robot("{type: " + GetParam() + "}");
  dynamic_cast<Robot&>(*robot.environment).reset_to(numbers("qpos"), numbers("qvel"), robot.observation);
  EXPECT_LE(furthest(robot.observation, numbers("first")), 1e-12);

  Tensor levels = recorded("actions"), observations = recorded("observations");
  auto rewards = numbers("rewards"), ends = numbers("ends");
  int64_t every = levels.size(0) / observations.size(0);
  const auto& space = robot.environment->spec().action;
  std::vector<double> action(robot.actions());
  for (int64_t t = 0; t < levels.size(0); ++t) {
    for (size_t k = 0; k < action.size(); ++k) {
      double level = levels[t][static_cast<int64_t>(k)].item<double>();
      action[k] = space.low[k] + (space.high[k] - space.low[k]) * level / 255;
    }
    bool ended = robot.step(action);
    ASSERT_LE(std::abs(robot.reward - rewards[static_cast<size_t>(t)]), 1e-9) << "step " << t;
    ASSERT_EQ(ended, ends[static_cast<size_t>(t)] != 0) << "step " << t;
    if (t % every != every - 1) continue;
    Tensor row = observations[t / every].contiguous();
    std::vector<double> expected(row.data_ptr<double>(), row.data_ptr<double>() + row.numel());
    ASSERT_LE(furthest(robot.observation, expected), 1e-9) << "step " << t;
  }
}

TEST_P(Robots, EpisodesStartAsGymnasiumsDo) {
  Lived robot("{type: " + GetParam() + "}");
  Tensor expected = recorded("starts");
  const int64_t N = 4000;
  Tensor starts = at::empty({N, expected.size(1)}, at::kDouble);
  for (int64_t i = 0; i < N; ++i) {
    robot.environment->reset(static_cast<uint64_t>(i), robot.observation);
    std::copy(robot.observation.begin(), robot.observation.end(), starts[i].data_ptr<double>());
  }
  Tensor mean = starts.mean(0), deviation = starts.std(0, /*unbiased=*/false);
  // Two means of N draws differ by 5 standard errors once in a million times.
  Tensor slack = expected[1].mul(5 * std::sqrt(2.0 / N)).add(1e-9);
  EXPECT_TRUE(mean.sub(expected[0]).abs().le(slack).all().item<bool>()) << mean << expected[0];
  EXPECT_TRUE(deviation.sub(expected[1]).abs().le(expected[1].mul(0.12).add(1e-9)).all().item<bool>());
  // The range of bounded draws is met to a fraction of it; that of normal ones varies more.
  Tensor range = expected[3].sub(expected[2]).mul(0.25).add(1e-9);
  EXPECT_TRUE(std::get<0>(starts.min(0)).sub(expected[2]).abs().le(range).all().item<bool>());
  EXPECT_TRUE(std::get<0>(starts.max(0)).sub(expected[3]).abs().le(range).all().item<bool>());
}

TEST_P(Robots, AStateGoesOnBitForBit) {
  Lived one("{type: " + GetParam() + "}"), other("{type: " + GetParam() + "}");
  one.environment->reset(3, one.observation);
  auto action = [&](int t) {
    std::vector<double> out(one.actions());
    for (size_t k = 0; k < out.size(); ++k) out[k] = std::sin(0.7 * t + static_cast<double>(k));
    return out;
  };
  for (int t = 0; t < 30; ++t) one.step(action(t));
  other.environment->set_state(one.environment->state());
  for (int t = 30; t < 60; ++t) {
    EXPECT_EQ(one.step(action(t)), other.step(action(t)));
    ASSERT_EQ(one.observation, other.observation) << "step " << t;
    ASSERT_EQ(one.reward, other.reward) << "step " << t;
  }
  std::string message = testing::message_of([&] { other.environment->set_state({1, 2}); });
  EXPECT_NE(message.find("numbers; got 2"), std::string::npos) << message;
}

TEST_P(Robots, TheSameSeedStartsTheSameEpisode) {
  Lived one("{type: " + GetParam() + "}"), other("{type: " + GetParam() + "}");
  one.environment->reset(5, one.observation);
  for (int t = 0; t < 5; ++t) other.step(std::vector<double>(other.actions(), 0.3));
  other.environment->reset(5, other.observation);
  EXPECT_EQ(one.observation, other.observation);
  other.environment->reset(6, other.observation);
  EXPECT_NE(one.observation, other.observation);
}

TEST_P(Robots, ASimulationThatBreaksDownIsNamed) {
  Lived robot("{type: " + GetParam() + "}");
  robot.environment->reset(0, robot.observation);
  std::string message = testing::message_of<RunError>(
      [&] { robot.step(std::vector<double>(robot.actions(), std::numeric_limits<double>::quiet_NaN())); });
  EXPECT_NE(message.find("unstable"), std::string::npos) << message;
  robot.environment->reset(1, robot.observation);  // and a new episode is as if nothing had happened
  EXPECT_NO_THROW(robot.step(std::vector<double>(robot.actions(), 0.1)));
}

/// Casting rays needs no window: the robot is seen, and seen to move.
TEST_P(Robots, CanBeSeen) {
  Lived lived("{type: " + GetParam() + "}");
  lived.environment->reset(1, lived.observation);
  const auto& rendered = dynamic_cast<const Rendered&>(*lived.environment);
  Tensor before = rendered.render(60, 80);
  EXPECT_EQ(before.sizes(), (std::vector<int64_t>{3, 60, 80}));
  EXPECT_GE(before.min().item<float>(), 0);
  EXPECT_LE(before.max().item<float>(), 1);
  EXPECT_GT(before.flatten(1).std(1).max().item<float>(), 0.02) << "nothing but one colour";
  EXPECT_TRUE(rendered.render(60, 80).equal(before));
  for (int step = 0; step < 10; ++step) lived.step(std::vector<double>(lived.actions(), 0.9));
  EXPECT_GT(rendered.render(60, 80).sub(before).abs().max().item<float>(), 0.05);
}

INSTANTIATE_TEST_SUITE_P(All, Robots, ::testing::ValuesIn(kTasks), [](const auto& task) { return task.param; });

class RobotFiles : public ::testing::Test {
 protected:
  void SetUp() override {
#ifndef RFT_HAS_MUJOCO
    GTEST_SKIP() << "built without MuJoCo";
#endif
  }
};

TEST_F(RobotFiles, AModelThatDoesNotLoadIsNamed) {
  testing::TempDir dir;
  auto message = [&](const std::string& model) {
    return testing::message_of([&] { make("{type: hopper, model: " + model + "}"); });
  };
  EXPECT_NE(message("nobody.xml").find("nobody.xml"), std::string::npos);
  testing::write_file(dir / "bad.xml", "<mujoco><worldbody><body></worldbody></mujoco>");
  std::string said = message(dir / "bad.xml");
  EXPECT_NE(said.find("bad.xml"), std::string::npos) << said;
  EXPECT_NE(said.find("XML"), std::string::npos) << said;
  testing::write_file(dir / "empty.xml", "<mujoco/>");
  std::string other = testing::message_of([&] { make("{type: ant, model: " + (dir / "empty.xml") + "}"); });
  EXPECT_NE(other.find("empty.xml"), std::string::npos) << other;
}

TEST_F(RobotFiles, OptionsThatMakeNoSenseAreRefused) {
  for (const char* yaml :
       {"{type: hopper, healthy_z_range: [2, 1]}", "{type: ant, main_body: 99}", "{type: ant, contact_force_range: []}",
        "{type: hopper, frame_skip: 0}", "{type: reacher, reset_noise_scale: 1}"})
    EXPECT_THROW(make(yaml), UserError) << yaml;
}

TEST_F(RobotFiles, WhatIsObservedFollowsTheOptions) {
  EXPECT_EQ(make("{type: hopper}")->spec().observation, 11);
  EXPECT_EQ(make("{type: hopper, exclude_current_positions_from_observation: false}")->spec().observation, 12);
  EXPECT_EQ(make("{type: ant}")->spec().observation, 105);
  EXPECT_EQ(make("{type: ant, include_cfrc_ext_in_observation: false}")->spec().observation, 27);
}

}  // namespace
}  // namespace rft::robots_test
