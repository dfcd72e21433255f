// rft act: what it writes is what happened in the environment, step by step, and can be imitated by any policy.
#include <cmath>
#include <nlohmann/json.hpp>

#include "rft/core/registry.h"
#include "rft/env/environment.h"
#include "support.h"

namespace rft {
namespace {

using testing::read_file;
using testing::TempDir;
using testing::write_file;

const char* const kPpo = "credit: {type: gae}\nobjective: {type: ppo}\ntrain: {steps: 1}\n";

/// A recipe of `policy` on point_mass; decisions of `chunk` actions, episodes of 10 steps.
std::string recipe(const TempDir& dir, const std::string& policy, int chunk, const std::string& rest) {
  return "run: {seed: 1, threads: 1, output: " + dir / "run" + "}\nenvironment: {type: point_mass, max_steps: 10}\n" +
         "policy: " + policy + "\nrollout: {environments: 3, chunk: " + std::to_string(chunk) +
         ", reward_gamma: 0.5, normalize_reward: true}\n" + rest;
}

std::vector<nlohmann::json> lines_of(const std::string& file) {
  std::vector<nlohmann::json> out;
  std::istringstream in(read_file(file));
  for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

/// Carries an episode's actions out in an environment that is put where it began.
void expect_replayed(const nlohmann::json& episode, double tolerance) {
  auto world = registry<Environment>().make(Config::parse("{type: point_mass, max_steps: 10}"));
  auto observations = episode.at("observations").get<std::vector<std::vector<double>>>();
  auto actions = episode.at("actions").get<std::vector<std::vector<double>>>();
  auto rewards = episode.at("rewards").get<std::vector<double>>();
  ASSERT_EQ(actions.size(), 10u);  // not a multiple of the chunk
  ASSERT_EQ(observations.size(), 11u);
  ASSERT_EQ(rewards.size(), 10u);
  std::vector<double> seen(observations[0].size()), reward(1);
  world->reset(0, seen);
  std::vector<double> state = world->state();  // position, velocity, goal
  for (size_t k = 0; k < 2; ++k) state[k] = 0, state[2 + k] = observations[0][k], state[4 + k] = observations[0][2 + k];
  world->set_state(state);
  double sum = 0;
  for (size_t t = 0; t < actions.size(); ++t) {
    EXPECT_EQ(actions[t].size(), 2u);
    world->step(actions[t], seen, reward);
    for (size_t d = 0; d < seen.size(); ++d) EXPECT_NEAR(seen[d], observations[t + 1][d], tolerance) << t;
    EXPECT_NEAR(reward[0], rewards[t], tolerance) << t;
    sum += rewards[t];
  }
  EXPECT_NEAR(episode.at("return").get<double>(), sum, 1e-9);
}

TEST(Act, WritesStepsOfTheEnvironmentHoweverManyADecisionHolds) {
  TempDir dir;
  for (int chunk : {1, 4}) {
    std::string file = dir / ("act" + std::to_string(chunk) + ".yaml"), out = dir / ("out" + std::to_string(chunk));
    write_file(file, recipe(dir, "{type: flow_actor, hidden: [8], denoising_steps: 2}", chunk, kPpo));
    auto ran = testing::rft("act " + file + " --episodes 5 --out " + out);
    ASSERT_EQ(ran.code, 0) << ran.err;
    auto episodes = lines_of(out + "/trajectories.jsonl");
    ASSERT_EQ(episodes.size(), 5u);
    double mean = 0;
    for (const auto& episode : episodes) expect_replayed(episode, 1e-6), mean += episode.at("return").get<double>() / 5;
    EXPECT_NEAR(nlohmann::json::parse(ran.out).at("episode/return").get<double>(), mean, 1e-9);
  }
}

TEST(Act, WhatAPolicyOfChunksDidIsImitatedByAny) {
  TempDir dir;
  write_file(dir / "act.yaml", recipe(dir, "{type: flow_actor, hidden: [8]}", 4, kPpo));
  auto acted = testing::rft("act " + dir / "act.yaml" + " --episodes 6 --out " + dir / "out");
  ASSERT_EQ(acted.code, 0) << acted.err;
  std::string sft = "objective: {type: sft}\ndata: {train: " + dir / "out/trajectories.jsonl" +
                    "}\ntrain: {steps: 2, batch_size: 8, samples_every: 0}\n";
  for (auto [policy, chunk] : {std::pair{"{type: gaussian, hidden: [8]}", 1},
                               {"{type: flow_actor, hidden: [8]}", 3},
                               {"{type: diffusion_actor, hidden: [8]}", 4}}) {
    write_file(dir / "sft.yaml", recipe(dir, policy, chunk, sft));
    auto ran = testing::rft("train " + dir / "sft.yaml" + " --quiet");
    EXPECT_EQ(ran.code, 0) << policy << ": " << ran.err;
  }
}

class Registered : public ::testing::Environment {
  void SetUp() override { register_builtins(); }
};
const auto* const registered = ::testing::AddGlobalTestEnvironment(new Registered);

}  // namespace
}  // namespace rft
