// A curriculum of privileged actions: PPO learns with help what it does not find without, and keeps it; a run that was
// interrupted goes on with the help that it had.
#include "control_runs.h"

namespace rft::privileged_learning_test {
namespace {

using testing::TempDir;

std::string mountain_car(const std::string& wrappers, int64_t timesteps, const std::string& rest) {
  return "environment: {type: mountain_car, wrappers: [" + wrappers + R"(]}
policy: {type: gaussian, hidden: [64, 64], log_std: 0}
rollout: {environments: 16, steps: 128, max_steps: 150, normalize_reward: true, reward_gamma: 0.99, eval_episodes: 10}
credit: {type: gae, gamma: 0.99, lambda: 0.95, kl_weight: 0}
objective: {type: ppo, clip_low: 0.2, value_weight: 0.5, value_clip: null}
train: {batch_size: 256, iterations: 10, max_grad_norm: 0.5, samples_every: 0,
        optimizer: {lr: 3.0e-4, eps: 1.0e-5}, schedule: {type: constant}, )" +
         rest + ", timesteps: " + std::to_string(timesteps) + "}\n";
}

TEST(PrivilegedActions, TeachWhatPlainPpoDoesNotFind) {
  register_builtins();
  TempDir dir;
  std::string rest = "log_every: 400, checkpoint_every: 0";
  auto helped = testing::run_recipe(
      dir, "helped", mountain_car("{type: privileged_actions, force: 1, anneal_steps: 90000}", 112000, rest));
  auto plain = testing::run_recipe(dir, "plain", mountain_car("", 112000, rest));
  std::printf("mean return %.1f after help, %.1f without\n", helped.at("eval/reward").get<double>(),
              plain.at("eval/reward").get<double>());
  EXPECT_EQ(helped.at("assistance").get<double>(), 0.0);
  EXPECT_FALSE(plain.contains("assistance"));
  EXPECT_GT(helped.at("eval/reward").get<double>(), 85);
  EXPECT_LT(plain.at("eval/reward").get<double>(), 10);
}

TEST(PrivilegedActions, AResumedRunGoesOnWithTheHelpItHad) {
  register_builtins();
  TempDir dir;
  std::string wrapper = "{type: privileged_actions, force: 1, slack: 0.3, force_cost: 0.1, anneal_steps: 5000}";
  std::string rest = "log_every: 80, checkpoint_every: 1000";
  testing::run_recipe(dir, "whole", mountain_car(wrapper, 8192, rest));
  testing::run_recipe(dir, "parts", mountain_car(wrapper, 4096, rest));
  auto last = testing::run_recipe(dir, "parts", mountain_car(wrapper, 8192, rest), /*resume=*/true);
  EXPECT_EQ(last.at("assistance").get<double>(), 0.0);
  std::string resolved = testing::read_file(dir / "whole/config.yaml");  // with the wrapper's defaults
  EXPECT_NE(resolved.find("hold_steps: 0"), std::string::npos) << resolved;
  EXPECT_EQ(testing::read_file(dir / "whole/final/model.safetensors"),
            testing::read_file(dir / "parts/final/model.safetensors"));
}

}  // namespace
}  // namespace rft::privileged_learning_test
