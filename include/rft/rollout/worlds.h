#pragma once
/// Worlds: environments that an actor lives in side by side, and the Experience that comes of it.
#include <functional>
#include <memory>
#include <optional>

#include "rft/core/metrics.h"
#include "rft/core/options.h"
#include "rft/core/running_moments.h"
#include "rft/core/state.h"
#include "rft/env/environment.h"
#include "rft/policy/actor.h"

namespace rft {

class Recorder;
struct RecordPlace;

/// How actors act, and what is recorded of it beside context, action, mask, logp, group, reward [B, T] and extra::last.
struct Acting {
  bool greedy = false;
  bool uniform = false;  ///< actions at random, whatever the policy says
  bool critic = false;   ///< extra::old_value, and next_value: of the last observation where time ran out, 0 where the
                         ///< episode ended by itself
  bool transitions = false;  ///< extra::next_observation and terminated
  bool raw = false;          ///< extra::raw_observation and command
  bool each_step = false;    ///< extra::step_observation and step_reward
};

/// What a recipe's `rollout:` block has for a policy that acts in an environment.
struct WorldsOptions {
  int64_t environments = 8;
  std::optional<int64_t> steps, max_steps;
  int64_t chunk = 1;
  std::vector<double> hide;
  double hindsight = 0;
  bool normalize_reward = false;
  double reward_gamma = 0.99;
  std::string learn_from = "auto";
  int64_t eval_episodes = 10;
  bool stop_on_failure = false;
  void visit(OptionVisitor& v);
};

/// Called on the training thread. Environments step on LibTorch's threads; what comes of it does not depend on how many
/// there are. state() holds every environment in mid-episode, so that a resumed run goes on bit for bit.
class Worlds : public Stateful {
 public:
  /// `make` makes one environment; all are alike. `seed` determines every episode's start.
  Worlds(const std::function<std::unique_ptr<Environment>()>& make, const WorldsOptions& options, uint64_t seed);
  ~Worlds() override;

  /// As those who act in it see it: with options.chunk actions a decision.
  const EnvironmentSpec& spec() const { return spec_; }
  const WorldsOptions& options() const { return options_; }
  /// Rows that segments() gives, environments times agents.
  int64_t rows() const;
  /// What is done here from now on is a run's learning: environments that change over a run (Annealed) are told of
  /// every step, and state() holds how many there were. Without this call they are as at the run's end.
  void anneal();

  /// The next options.steps decisions of every agent, [rows(), steps]: an episode may begin or end anywhere in a row,
  /// and its group is the row. What an episode did in this segment before its simulation broke down is masked.
  Experience segments(Actor& actor, uint64_t seed, const Acting& acting, Metrics& metrics);
  /// Whole episodes from their start, padded to the longest: `starts` different starts, `group_size` episodes from each
  /// (rows of a group stand together; with several agents each agent's row is in its start's group). Episodes whose
  /// simulation broke down are wholly masked and their reward is NaN. `frame` is called with row 0's environment after
  /// reset and after every step; may be empty.
  Experience episodes(Actor& actor, int64_t starts, int64_t group_size, uint64_t seed, const Acting& acting,
                      Metrics& metrics, const std::function<void(const Environment&)>& frame = {});

  State state() const override;
  void load_state(const State& state) override;

 private:
  struct World;
  int64_t time_limit() const;
  void start(World& world);
  void step(const std::vector<World*>& active, const Tensor& command);
  void step(World& world, const double* command);
  void conceal(World& world) const;
  const float* remembered(const World& world, int64_t agent) const;
  Decisions ask(Actor& actor, const std::vector<World*>& active, const std::vector<RecordPlace>& places, uint64_t seed,
                const Acting& acting, Recorder& recorder);
  std::vector<World*> decide(Actor& actor, const std::vector<World*>& active, uint64_t seed, const Acting& acting,
                             Recorder& recorder);
  void progress(const std::vector<World*>& active);
  bool record(World& world, uint64_t seed, const Acting& acting, Recorder& recorder);
  void record_rewards(World& world, bool ended, Recorder& recorder);
  void look_back(const World& world, uint64_t seed, const Acting& acting, Recorder& recorder) const;
  void report(Metrics& metrics);
  void normalize(World& world);
  void count_failure(World& world);

  WorldsOptions options_;
  EnvironmentSpec spec_;
  uint64_t seed_;
  std::vector<std::unique_ptr<World>> worlds_;
  RunningMoments returns_{1};  ///< of the discounted rewards, for normalize_reward
  bool started_ = false;
  bool anneals_ = false;
  int64_t taken_ = 0;  ///< steps of all environments since anneal()
  double left_ = 0;    ///< what is left of the change
  // Since the last report.
  std::vector<double> finished_returns_, finished_lengths_;
  int64_t failures_ = 0;
};

}  // namespace rft
