// Off-policy objectives in whole runs: they learn, from what they collect and from what they are given, and a resumed
// run ends the same.
#include <functional>

#include "control_runs.h"

namespace rft::off_policy_test {
namespace {

using testing::TempDir;

const char* const kWorld = "environment: {type: point_mass, max_steps: 40}\n";
const char* const kSquashed =
    "policy: {type: gaussian, squash: true, state_std: true, hidden: [32, 32], activation: relu, "
    "normalize_observations: false}\n";
const char* const kPlain =
    "policy: {type: deterministic, hidden: [32, 32], activation: relu, noise: 0.2, normalize_observations: false}\n";

/// Deep Q-learning of a pole to balance.
std::string choices(int64_t timesteps) {
  return R"(environment: {type: cart_pole}
policy: {type: q_network, hidden: [64, 64], activation: relu, normalize_observations: false, last_epsilon: 0.04,
         epsilon_decisions: 2000}
rollout: {environments: 4, steps: 16, eval_episodes: 10, replay: {warmup: 512, updates: 0.5}}
objective: {type: dqn, target_every: 64}
train: {timesteps: )" +
         std::to_string(timesteps) +
         R"(, batch_size: 64, max_grad_norm: 10, log_every: 500, samples_every: 0, checkpoint_every: 250,
        optimizer: {lr: 2.3e-3}, schedule: {type: constant}}
)";
}

std::string online(const std::string& policy, const std::string& objective, int64_t timesteps,
                   const std::string& chunk = "1") {
  return kWorld + policy + R"(
rollout: {environments: 4, steps: 1, chunk: )" +
         chunk + R"(, reward_gamma: 0.95, eval_episodes: 20, replay: {warmup: 400, updates: 0.5}}
objective: )" +
         objective + R"(
train: {timesteps: )" +
         std::to_string(timesteps) +
         R"(, batch_size: 64, max_grad_norm: 0, log_every: 500, samples_every: 0, checkpoint_every: 250,
        optimizer: {lr: 2.0e-3}, schedule: {type: constant}}
)";
}

class OffPolicy : public ::testing::Test {
  void SetUp() override { register_builtins(); }
};

/// The return is minus the summed distance: about -60 for one who stands still.
TEST_F(OffPolicy, LearnsFromWhatItCollects) {
  TempDir dir;
  for (auto [name, policy, objective] :
       {std::tuple{"sac", kSquashed, "{type: sac, gamma: 0.95, initial_temperature: 0.2}"},
        {"td3", kPlain, "{type: td3, gamma: 0.95}"}}) {
    auto last = testing::run_recipe(dir, name, online(policy, objective, 4000));
    EXPECT_GT(last.at("eval/reward").get<double>(), -20) << name;
  }
}

/// Two steps a decision, so half as many decisions an episode.
TEST_F(OffPolicy, LearnsChunksOfActions) {
  TempDir dir;
  auto recipe = online(kSquashed, "{type: sac, gamma: 0.95, initial_temperature: 0.2}", 2000, "2");
  EXPECT_GT(testing::run_recipe(dir, "chunks", recipe).at("eval/reward").get<double>(), -20);
}

/// An episode lasts about 9 steps at random and 500 at most.
TEST_F(OffPolicy, LearnsWhatChoicesAreWorth) {
  TempDir dir;
  auto last = testing::run_recipe(dir, "dqn", choices(8000));
  EXPECT_GT(last.at("eval/reward").get<double>(), 100);
}

TEST_F(OffPolicy, LearnsFromWhatItIsGivenThenFromBoth) {
  TempDir dir;
  testing::write_demonstrations(dir / "rows.jsonl", 60);
  for (auto [name, policy, objective] :
       {std::tuple{"iql",
                   "policy: {type: gaussian, squash: true, hidden: [32, 32], activation: relu, log_std: -1, "
                   "normalize_observations: false}\n",
                   "{type: iql, gamma: 0.95}"},
        {"cal_ql", kSquashed,
         "{type: cal_ql, gamma: 0.95, cql_weight: 1, cql_samples: 2, initial_temperature: 0.2}"}}) {
    testing::run_recipe(dir, name, kWorld + std::string(policy) + "data: {train: " + dir / "rows.jsonl}" + R"(
objective: )" + objective + R"(
stages:
  - train: {steps: 800, batch_size: 64, log_every: 800, samples_every: 0, checkpoint_every: 0,
            optimizer: {lr: 2.0e-3}, schedule: {type: constant}}
    rollout: {eval_episodes: 20}
  - train: {timesteps: 2000, batch_size: 64, log_every: 400, samples_every: 0, checkpoint_every: 0,
            optimizer: {lr: 2.0e-3}, schedule: {type: constant}}
    rollout: {environments: 4, eval_episodes: 20, replay: {warmup: 0, updates: 0.5}}
)");
    double offline = testing::evaluated(dir / name, name),
           tuned = testing::evaluated(dir / name, std::string(name) + "_2");
    EXPECT_GT(offline, -40) << name;
    EXPECT_GT(tuned, -30) << name;
  }
}

TEST_F(OffPolicy, AResumedRunEndsTheSame) {
  TempDir dir;
  auto of = [](const char* policy, const char* objective) {
    return [=](int64_t timesteps) { return online(policy, objective, timesteps); };
  };
  const std::vector<std::pair<std::string, std::function<std::string(int64_t)>>> runs{
      {"sac", of(kSquashed, "{type: sac, gamma: 0.95}")},
      {"td3", of(kPlain, "{type: td3, gamma: 0.95}")},
      {"dqn", choices}};
  for (const auto& [name, recipe] : runs) {
    std::string whole = name + "_whole", parts = name + "_parts";
    testing::run_recipe(dir, whole, recipe(1000));
    testing::run_recipe(dir, parts, recipe(700));
    testing::run_recipe(dir, parts, recipe(1000), /*resume=*/true);
    EXPECT_EQ(testing::read_file(dir / (whole + "/final/model.safetensors")),
              testing::read_file(dir / (parts + "/final/model.safetensors")))
        << name;
  }
}

std::string refused(const std::string& recipe) {
  return testing::message_of<UserError>([&] { Recipe::from(Config::parse(recipe, "recipe.yaml")); });
}

TEST_F(OffPolicy, RecipesThatCannotWorkAreRefused) {
  std::string policy = kWorld + std::string(kSquashed), sac = "objective: {type: sac}\n";
  EXPECT_NE(refused(policy + sac + "train: {batch_size: 4}").find("timesteps"), std::string::npos);
  EXPECT_NE(refused(policy + sac + "train: {steps: 4}").find("nothing to learn from"), std::string::npos);
  EXPECT_NE(
      refused(policy + "objective: {type: cal_ql}\nrollout: {steps: 1}\ntrain: {timesteps: 10}").find("calibrated"),
      std::string::npos);
  EXPECT_NE(refused(policy + "objective: {type: reinforce}\nrollout: {replay: {warmup: 3}}\ntrain: {steps: 4}")
                .find("replay"),
            std::string::npos);
  EXPECT_NE(refused(online(kSquashed, "{type: sac, gamma: 0.9}", 1000, "2")).find("reward_gamma 0.95"),
            std::string::npos);
  EXPECT_NE(refused("policy: {type: gaussian}\nobjective: {type: sac}\ntrain: {timesteps: 9}").find("environment"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::off_policy_test
