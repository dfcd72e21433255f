// A GFlowNet ends in every cell of a hypergrid with the probability of its reward over the sum of all.
#include "control_runs.h"
#include "hypergrid_distance.h"

namespace rft::gflownet_learning_test {
namespace {

TEST(GFlowNet, EndsWhereTheRewardIsInItsProportion) {
  register_builtins();
  testing::TempDir dir;
  for (auto [balance, steps] : {std::pair{"tb", 700}, {"subtb", 700}, {"db", 700}}) {
    testing::run_recipe(dir, balance,
                        std::string(R"(
environment: {type: hypergrid, dimensions: 2, side: 8}
policy: {type: categorical, hidden: [64, 64], activation: relu, normalize_observations: false}
rollout: {environments: 32, eval_episodes: 8}
objective: {type: gflownet, balance: )") +
                            balance + R"(}
train: {batch_size: 32, log_every: 500, samples_every: 0, checkpoint_every: 0, optimizer: {lr: 5.0e-3},
        schedule: {type: cosine}, steps: )" +
                            std::to_string(steps) + "}\n");
    testing::GridReader policy(dir / (std::string(balance) + "/final"), {}, false);
    double off = policy.distance(policy.read().choice);
    std::printf("%s: L1 distance %.4f after %d steps\n", balance, off, steps);
    EXPECT_LT(off, 0.02) << balance;
  }
}

const char* const kTrain =
    "train: {batch_size: 64, log_every: 500, samples_every: 0, checkpoint_every: 0, optimizer: {lr: LR},\n"
    "        schedule: {type: SCHEDULE}, steps: STEPS}\n"
    "policy: {type: categorical, hidden: [64, 64], activation: relu, normalize_observations: false, path: 'PATH'}\n";

/// A run on the 8 x 8 grid with this wrapper; gives where its policy is.
std::string grid_run(const testing::TempDir& dir, const std::string& name, const std::string& wrapper,
                     const std::string& rest, std::vector<std::pair<std::string, std::string>> train) {
  std::string recipe = kTrain;
  for (const auto& [key, value] : train) recipe.replace(recipe.find(key), key.size(), value);
  testing::run_recipe(dir, name,
                      "environment: {type: hypergrid, side: 8, wrappers: [{type: outcome_conditioned, " + wrapper +
                          "}]}\n" + rest + recipe);
  return dir / (name + "/final");
}

TEST(GFlowNet, PreTrainedOnOutcomesItMakesWhatItIsAskedForAndTakesToARewardFaster) {
  register_builtins();
  testing::TempDir dir;
  std::string known = grid_run(dir, "outcomes", "asked: 0.75",
                               "rollout: {environments: 32, eval_episodes: 8, hindsight: 0.5}\n"
                               "objective: {type: gflownet, balance: subtb, reward_floor: 1.0e-4}\n",
                               {{"LR", "5.0e-3"}, {"SCHEDULE", "cosine"}, {"STEPS", "1500"}, {"PATH", ""}});
  testing::GridReader asked(known, {}, true);
  double reached = 0, even = 0;
  for (int64_t y = 0; y < 64; ++y) reached += asked.ends(asked.read(y).choice)[y].item<double>() / 64;
  even = asked.ends(asked.read().choice).sub(1.0 / 64).abs().sum().item<double>();
  double extracted = asked.distance(asked.marginal());
  std::printf("reaches %.3f; asked for nothing %.3f from even; marginal over outcomes, L1 %.3f\n", reached, even,
              extracted);
  EXPECT_GT(reached, 0.95);
  EXPECT_LT(even, 0.1);
  EXPECT_LT(extracted, 0.1);

  auto off_after = [&](const std::string& name, const std::string& steps, const std::string& path) {
    std::string tuned = grid_run(dir, name, "asked: 0, own_reward: true",
                                 "rollout: {environments: 32, eval_episodes: 8}\nobjective: {type: gflownet}\n",
                                 {{"LR", "1.0e-3"}, {"SCHEDULE", "constant"}, {"STEPS", steps}, {"PATH", path}});
    testing::GridReader policy(tuned, {}, true);
    return policy.distance(policy.read().choice);
  };
  double tuned = off_after("tuned", "100", known), scratch = off_after("scratch", "200", "");
  std::printf("L1 distance %.3f after 100 steps from it, %.3f after 200 from nothing\n", tuned, scratch);
  EXPECT_LT(tuned, 0.12);
  EXPECT_GT(scratch, 0.12);
}

}  // namespace
}  // namespace rft::gflownet_learning_test
