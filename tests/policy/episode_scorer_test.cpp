// A reward model of episodes: its score, what it learns from pairs, directories, and the reward that reads them.
#include "rft/policy/episode_scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "rft/io/rows.h"
#include "rft/objective/bradley_terry.h"
#include "rft/reward/episode_reward.h"
#include "rft/train/optimizer.h"
#include "support.h"

namespace rft::episode_scorer_test {
namespace {

Needs of_pairs() { return BradleyTerry({}).needs(); }

/// An episode of `steps` steps with two numbers to observe and one to do.
nlohmann::json episode(uint64_t seed, int64_t steps) {
  Rng rng(seed);
  nlohmann::json observations = nlohmann::json::array(), actions = observations;
  for (int64_t t = 0; t <= steps; ++t) {
    auto at = [&](uint64_t k) { return 2 * rng.uniform(8 * static_cast<uint64_t>(t) + k) - 1; };
    observations.push_back({at(0), at(1)});
    if (t < steps) actions.push_back({at(2)});
  }
  return {{"observations", observations}, {"actions", actions}};
}

/// What the pairs prefer: doing what the first number says, and never seeing a high second one.
double worth(const nlohmann::json& episode) {
  double sum = 0;
  for (size_t t = 0; t < episode["actions"].size(); ++t) {
    double a = episode["actions"][t][0], x = episode["observations"][t][0], y = episode["observations"][t][1];
    sum += a * x - (y > 0.5 ? 0.5 : 0);
  }
  return sum;
}

std::string pair(uint64_t seed) {
  nlohmann::json a = episode(mix(seed, 1), 3 + static_cast<int64_t>(seed % 3)), b = episode(mix(seed, 2), 4);
  bool first = worth(a) > worth(b);
  return nlohmann::json{{"chosen", first ? a : b}, {"rejected", first ? b : a}}.dump();
}

Rows pairs(uint64_t from, uint64_t count) {
  std::vector<std::string> lines;
  for (uint64_t i = 0; i < count; ++i) lines.push_back(pair(from + i));
  return Rows::parse(lines);
}

std::unique_ptr<EpisodeScorer> make(const testing::TempDir& dir, const std::string& options = "") {
  std::string file = dir / "episodes.jsonl";
  if (options.find("path") == std::string::npos) {
    std::string lines;
    for (uint64_t i = 0; i < 20; ++i) lines += episode(i, 4).dump() + "\n";
    testing::write_file(file, lines);
  }
  std::string yaml = options.empty() ? "{hidden: [32, 32], episodes: " + file + "}" : options;
  auto out = std::make_unique<EpisodeScorer>(read_options<EpisodeScorer::Options>(Config::parse(yaml)));
  out->prepare(of_pairs(), 3);
  return out;
}

TEST(EpisodeScorer, AScoreIsTheSumOfItsOwnStepsAlone) {
  testing::TempDir dir;
  auto scorer = make(dir);
  Experience two = scorer->pairs(pairs(0, 8));
  EXPECT_EQ(two.rows(), 16);
  Tensor all = scorer->evaluate(two, of_pairs()).score;
  Experience one = scorer->pairs(pairs(2, 1));  // padded to fewer steps
  Tensor alone = scorer->evaluate(one, of_pairs()).score;
  EXPECT_NEAR(alone[0].item<double>(), all[2].item<double>(), 1e-5);
  EXPECT_NEAR(alone[1].item<double>(), all[10].item<double>(), 1e-5);
  // Garbage where masked reaches nothing.
  two.action = at::where(two.mask.unsqueeze(2), two.action, at::full({}, 1e6f));
  EXPECT_TRUE(scorer->evaluate(two, of_pairs()).score.allclose(all));
}

double accuracy(EpisodeScorer& scorer, const Experience& batch) {
  Tensor score = scorer.evaluate(batch, of_pairs()).score;
  int64_t pairs = score.size(0) / 2;
  return score.narrow(0, 0, pairs).gt(score.narrow(0, pairs, pairs)).to(at::kDouble).mean().item<double>();
}

TEST(EpisodeScorer, LearnsWhatPairsPrefer) {
  testing::TempDir dir;
  auto scorer = make(dir);
  Experience seen = scorer->pairs(pairs(100, 400)), unseen = scorer->pairs(pairs(10000, 200));
  seen.fill_totals();
  BradleyTerry objective({});
  Optimizer optimizer(scorer->parameters(), OptimizerOptions{});
  EXPECT_LT(accuracy(*scorer, unseen), 0.75);
  for (int i = 0; i < 150; ++i) {
    optimizer.zero_grad();
    objective.loss(scorer->evaluate(seen, of_pairs()), seen).total().backward();
    optimizer.step(5e-3);
  }
  EXPECT_GT(accuracy(*scorer, unseen), 0.8);
}

/// What a rollout records of `episode`, as two decisions of two actions each.
Experience recorded(const nlohmann::json& episode) {
  Experience out;
  std::vector<double> seen, done;
  for (size_t t = 0; t < 4; ++t) {
    for (double x : episode["observations"][t]) seen.push_back(x);
    done.push_back(episode["actions"][t][0]);
  }
  out.extra.set(extra::step_observation, at::tensor(seen, at::kDouble).view({1, 2, 2, 2}));
  out.extra.set(extra::command, at::tensor(done, at::kDouble).view({1, 2, 2}));
  out.mask = at::ones({1, 2}, at::kBool), out.action = at::zeros({1, 2, 2});
  return out;
}

TEST(EpisodeReward, IsWhatTheSavedModelSaysOfTheStepsThatWereCarriedOut) {
  testing::TempDir dir;
  auto scorer = make(dir);
  testing::TempDir saved;
  scorer->save(saved.path());
  nlohmann::json one = episode(77, 4);
  Experience judged = scorer->pairs(Rows::parse({nlohmann::json{{"chosen", one}, {"rejected", one}}.dump()}));
  double whole = scorer->evaluate(judged, of_pairs()).score[0].item<double>();
  EpisodeReward reward({.path = saved.path()});
  Rewards got = reward.score(recorded(one));
  EXPECT_EQ(got.value.sizes(), at::IntArrayRef({1, 2}));
  EXPECT_NEAR(got.value.sum().item<double>(), whole, 1e-5);
  // The second decision ended after one of its actions.
  nlohmann::json brief = one;
  brief["actions"].erase(3), brief["observations"].erase(4);
  judged = scorer->pairs(Rows::parse({nlohmann::json{{"chosen", brief}, {"rejected", brief}}.dump()}));
  Experience cut = recorded(one);
  cut.extra.set(extra::duration, at::tensor({2.0f, 1.0f}).view({1, 2}));
  EXPECT_NEAR(reward.score(cut).value.sum().item<double>(),
              scorer->evaluate(judged, of_pairs()).score[0].item<double>(), 1e-5);
  // Another scorer goes on from the directory.
  auto again = make(dir, "{path: " + saved.path() + "}");
  EXPECT_TRUE(again->evaluate(judged, of_pairs()).score.equal(scorer->evaluate(judged, of_pairs()).score));
}

TEST(EpisodeReward, WhatDoesNotFitIsNamed) {
  testing::TempDir dir, saved;
  auto scorer = make(dir);
  scorer->save(saved.path());
  EpisodeReward reward({.path = saved.path()});
  Experience other = recorded(episode(1, 4));
  other.extra.set(extra::command, at::zeros({1, 2, 6}, at::kDouble));
  std::string message = testing::message_of<UserError>([&] { reward.score(other); });
  EXPECT_NE(message.find("of an action; the environment has 2 and 3"), std::string::npos) << message;
  message = testing::message_of<UserError>([&] { reward.score({}); });
  EXPECT_NE(message.find("environment"), std::string::npos) << message;
  testing::write_file(saved / "config.json", R"({"model_type": "rft_episode_model", "observation_size": 0})");
  message = testing::message_of<UserError>([&] { EpisodeReward({.path = saved.path()}); });
  EXPECT_NE(message.find("observation_size"), std::string::npos) << message;
  message = testing::message_of<UserError>([&] { make(dir, "{hidden: [4]}"); });
  EXPECT_NE(message.find("episodes"), std::string::npos) << message;
  message = testing::message_of<UserError>([&] {
    scorer->pairs(Rows::parse({R"({"chosen": {"observations": [[1, 2]],
    "actions": []}, "rejected": {}})"}));
  });
  EXPECT_NE(message.find("chosen"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::episode_scorer_test
