// Whole runs of control: an actor with memory recalls what one without can't; flow and diffusion actors learn a weak
// demonstrator's way and then, by its reward, a better one; a resumed run ends the same.
#include "control_runs.h"
#include "rft/env/environment.h"

namespace rft::control_learning_test {
namespace {

using testing::evaluated;
using testing::TempDir;
using testing::write_demonstrations;

/// Shows a cue in its first observation and pays 1 for the choice that equals it, four steps later.
class Recall : public Environment {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit Recall(Options) {
    spec_.name = "recall", spec_.observation = 2, spec_.action.choices = 2, spec_.max_steps = kSteps;
  }
  const EnvironmentSpec& spec() const override { return spec_; }
  void reset(uint64_t seed, std::span<double> observation) override {
    cue_ = Rng(seed).uniform(0) < 0.5 ? 0 : 1, at_ = 0;
    observation[0] = 2 * cue_ - 1, observation[1] = 0;
  }
  bool step(std::span<const double> action, std::span<double> observation, std::span<double> reward) override {
    observation[0] = 0, observation[1] = ++at_ / static_cast<double>(kSteps);
    reward[0] = at_ == kSteps && action[0] == cue_ ? 1 : 0;
    return at_ == kSteps;
  }
  std::vector<double> state() const override { return {cue_, static_cast<double>(at_)}; }
  void set_state(const std::vector<double>& state) override { cue_ = state.at(0), at_ = static_cast<int>(state.at(1)); }

 private:
  static constexpr int kSteps = 4;
  EnvironmentSpec spec_;
  double cue_ = 0;
  int at_ = 0;
};

std::string recall(const std::string& policy, int64_t timesteps) {
  return "environment: {type: recall}\npolicy: " + policy + R"(
rollout: {environments: 32, steps: 8, eval_episodes: 100, learn_from: rows}
credit: {type: gae, gamma: 0.99, lambda: 0.95, kl_weight: 0}
objective: {type: ppo, value_weight: 0.5, value_clip: null, entropy_weight: 0.01}
train: {timesteps: )" +
         std::to_string(timesteps) +
         R"(, batch_size: 16, iterations: 4, log_every: 40, samples_every: 0, checkpoint_every: 1000,
        optimizer: {lr: 3.0e-3}, schedule: {type: constant}}
)";
}

TEST(Control, AnActorWithMemoryRecallsWhatOneWithoutCannot) {
  TempDir dir;
  for (std::string cell : {"lstm", "gru"}) {
    auto last = testing::run_recipe(
        dir, cell, recall("{type: recurrent, memory_size: 16, hidden: [16], cell: " + cell + "}", 16384));
    EXPECT_GT(last.at("eval/reward").get<double>(), 0.95) << cell;
    EXPECT_LT(last.at("logp_mismatch").get<double>(), 1e-6);
  }
  auto forgetful = testing::run_recipe(dir, "mlp", recall("{type: categorical, hidden: [16]}", 16384));
  EXPECT_LT(forgetful.at("eval/reward").get<double>(), 0.7);
}

std::string two_stages(const std::string& policy, const std::string& objective, const std::string& rows,
                       int64_t steps) {
  return "environment: {type: point_mass, max_steps: 40}\npolicy: " + policy + R"(
rollout: {environments: 16, steps: 20, chunk: 2, reward_gamma: 0.95, normalize_reward: true, eval_episodes: 20}
stages:
  - objective: {type: sft}
    data: {train: )" +
         rows + R"(}
    train: {steps: 400, batch_size: 128, log_every: 400, samples_every: 0, checkpoint_every: 0, optimizer: {lr: 3.0e-3}}
  - credit: {type: gae, gamma: 0.95, lambda: 0.9, kl_weight: 0, advantage_clip: 3}
    objective: )" +
         objective + R"(
    train: {steps: )" +
         std::to_string(steps) +
         R"(, batch_size: 80, iterations: 5, log_every: 20, samples_every: 0, checkpoint_every: 20,
            optimizer: {lr: 1.0e-3}, schedule: {type: constant}}
)";
}

TEST(Control, FlowAndDiffusionActorsImproveOnTheirDemonstrations) {
  TempDir dir;
  write_demonstrations(dir / "rows.jsonl", 30);
  for (auto [name, policy, kind, objective] :
       {std::tuple{"flow", "{type: flow_actor, hidden: [64, 64], activation: relu, denoising_steps: 2, logp: mean}",
                   "ppo", "{type: ppo, value_weight: 0.5, value_clip: null, clip_low: 0.05}"},
        {"diffusion", "{type: diffusion_actor, hidden: [64, 64], activation: relu, denoising_steps: 5, logp: mean}",
         "ppo", "{type: ppo, value_weight: 0.5, value_clip: null, clip_low: 0.05, clip_base: 0.01}"},
        {"weighted",
         "{type: flow_actor, hidden: [64, 64], activation: relu, denoising_steps: 2, decision: step, critic: steps, "
         "denoising_gamma: 1, judge: forward}",
         "rwr", "{type: rwr, value_weight: 0.5, critic_warmup: 60, temperature: 0.5, kl_weight: 0.1}"}}) {
    auto last = testing::run_recipe(dir, name, two_stages(policy, objective, dir / "rows.jsonl", 600));
    double cloned = evaluated(dir / name, "sft"), tuned = evaluated(dir / name, kind);
    EXPECT_GT(tuned, 0.8 * cloned) << name << ": the return is a cost, and less of it is better; cloned " << cloned;
    EXPECT_LT(last.at("logp_mismatch").get<double>(), 1e-5);
    RecordProperty(std::string(name) + "_cloned", std::to_string(cloned));
    RecordProperty(std::string(name) + "_tuned", std::to_string(tuned));
  }
}

TEST(Control, AResumedRunEndsTheSame) {
  TempDir dir;
  write_demonstrations(dir / "rows.jsonl", 5);
  std::string flow = "{type: flow_actor, hidden: [16], denoising_steps: 2}";
  std::string diffusion = "{type: diffusion_actor, hidden: [16], denoising_steps: 3}";
  auto recipe_of = [&](const std::string& name, int64_t steps) {
    if (name == "recurrent") return recall("{type: recurrent, memory_size: 8, hidden: [8]}", 256 * steps / 8);
    return two_stages(name == "flow" ? flow : diffusion, "{type: ppo, value_weight: 0.5, value_clip: null}",
                      dir / "rows.jsonl", steps);
  };
  for (std::string name : {"flow", "diffusion", "recurrent"}) {
    testing::run_recipe(dir, name + "_whole", recipe_of(name, 48));
    testing::run_recipe(dir, name + "_parts", recipe_of(name, 32));
    testing::run_recipe(dir, name + "_parts", recipe_of(name, 48), /*resume=*/true);
    EXPECT_EQ(testing::read_file(dir / (name + "_whole/final/model.safetensors")),
              testing::read_file(dir / (name + "_parts/final/model.safetensors")))
        << name;
  }
}

/// The rate is read from a batch before its step, and a checkpoint in the middle of a rollout's updates holds it.
TEST(Control, AnAdaptiveRateMovesAndResumes) {
  TempDir dir;
  auto recipe_of = [](int64_t steps) {
    return "environment: {type: point_mass, max_steps: 40}\npolicy: {type: gaussian, hidden: [16]}\n"
           "rollout: {environments: 4, steps: 20}\ncredit: {type: gae}\nobjective: {type: ppo}\n"
           "train: {steps: " +
           std::to_string(steps) +
           ", batch_size: 20, iterations: 3, checkpoint_every: 16, samples_every: 0,\n"
           "        optimizer: {lr: 1.0e-3}, schedule: {type: adaptive, desired_kl: 0.002}}\n";
  };
  auto whole = testing::run_recipe(dir, "whole", recipe_of(40));
  testing::run_recipe(dir, "parts", recipe_of(17));
  auto parts = testing::run_recipe(dir, "parts", recipe_of(40), /*resume=*/true);
  EXPECT_EQ(whole.at("learning_rate"), parts.at("learning_rate"));
  EXPECT_NE(whole.at("learning_rate").get<double>(), 1e-3);
  EXPECT_GT(whole.at("approx_kl").get<double>(), 0);
  EXPECT_EQ(testing::read_file(dir / "whole/final/model.safetensors"),
            testing::read_file(dir / "parts/final/model.safetensors"));
}

class Registered : public ::testing::Environment {
  void SetUp() override {
    register_builtins();
    registry<rft::Environment>().add<Recall>("recall", "a cue to be remembered", "");
  }
};
const auto* const registered = ::testing::AddGlobalTestEnvironment(new Registered);

}  // namespace
}  // namespace rft::control_learning_test
