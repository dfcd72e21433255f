// rft act: what it writes is what happened in the environment, step by step, and can be imitated by any policy.
#include <cmath>
#include <nlohmann/json.hpp>

#include "rft/core/registry.h"
#include "rft/env/environment.h"
#include "support.h"

namespace rft::act_test {
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

TEST(Act, PairsAreTwoEpisodesOfOneStartTheBetterOneFirst) {
  TempDir dir;
  write_file(dir / "act.yaml", recipe(dir, "{type: gaussian, hidden: [8]}", 1, kPpo));
  auto ran = testing::rft("act " + dir / "act.yaml" + " --pairs --episodes 5 --out " + dir / "out");
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto pairs = lines_of(dir / "out/pairs.jsonl");
  ASSERT_EQ(pairs.size(), 5u);
  for (const auto& pair : pairs) {
    const auto &chosen = pair.at("chosen"), &rejected = pair.at("rejected");
    EXPECT_EQ(chosen.at("observations")[0], rejected.at("observations")[0]);
    EXPECT_NE(chosen.at("actions"), rejected.at("actions"));
    EXPECT_GT(chosen.at("return").get<double>(), rejected.at("return").get<double>());
    expect_replayed(chosen, 1e-6);
  }
  auto refused = testing::rft("act " + dir / "act.yaml" + " --pairs --greedy --out " + dir / "out");
  EXPECT_NE(refused.code, 0);
  EXPECT_NE(refused.err.find("--pairs"), std::string::npos) << refused.err;
}

/// Gen-Drive's way in small: pairs, an evaluator of them, and a policy that is tuned to it.
TEST(Act, WhatWasPreferredBecomesAReward) {
  TempDir dir;
  ASSERT_EQ(testing::rft("data driving --vehicles 2 --steps 4 --episodes 20 --out " + dir / "data").code, 0);
  const std::string scene = "environment: {type: driving, vehicles: 2, max_steps: 4}\n",
                    policy = "policy: {type: diffusion_actor, hidden: [16], denoising_steps: 3}\n",
                    run = "run: {seed: 1, threads: 1, output: ";
  write_file(dir / "clone.yaml", run + dir / "clone}\n" + scene + policy +
                                     "rollout: {chunk: 4}\nobjective: {type: sft}\n" +
                                     "data: {train: " + dir / "data/trajectories.jsonl}\n" +
                                     "train: {steps: 3, batch_size: 8, samples_every: 0}\n");
  ASSERT_EQ(testing::rft("train " + dir / "clone.yaml --quiet").code, 0);
  ASSERT_EQ(testing::rft("act " + dir / "clone --pairs --episodes 30 --out " + dir / "pairs").code, 0);
  write_file(dir / "judge.yaml",
             run + dir / "judge}\npolicy: {type: episode_scorer, hidden: [16], episodes: " +
                 dir / "data/trajectories.jsonl}\nobjective: {type: bradley_terry}\ndata: {train: " +
                 dir / "pairs/pairs.jsonl, eval: " +
                 dir /
                     "pairs/pairs.jsonl}\ntrain: {steps: 60, batch_size: 16, eval_every: "
                     "60, samples_every: 0, optimizer: {lr: 1.0e-2}}\n");
  ASSERT_EQ(testing::rft("train " + dir / "judge.yaml --quiet").code, 0);
  EXPECT_GT(lines_of(dir / "judge/metrics.jsonl").back().at("eval/accuracy").get<double>(), 0.8);
  write_file(
      dir / "tune.yaml",
      run + dir / "tune}\n" + scene + policy + "rollout: {environments: 8, steps: 1, chunk: 4, eval_episodes: 4}\n" +
          "reward: {type: episode_model, path: " + dir / "judge/final}\ncredit: {type: gae}\nobjective: {type: ppo}\n" +
          "train: {timesteps: 16, batch_size: 8, eval_every: 2, samples_every: 0}\n");
  auto tuned = testing::rft("train " + dir / "tune.yaml --quiet");
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  auto last = lines_of(dir / "tune/metrics.jsonl").back();
  EXPECT_TRUE(last.contains("eval/episode/return") && last.contains("eval/rewards/episode_model/mean"));
}

class Registered : public ::testing::Environment {
  void SetUp() override { register_builtins(); }
};
const auto* const registered = ::testing::AddGlobalTestEnvironment(new Registered);

}  // namespace
}  // namespace rft::act_test
