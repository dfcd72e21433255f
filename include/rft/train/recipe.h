#pragma once
/// A recipe: what `rft train FILE.yaml` runs, validated before anything is loaded.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rft/core/config.h"
#include "rft/credit/credit.h"
#include "rft/objective/objective.h"
#include "rft/policy/policy.h"
#include "rft/reward/reward_model.h"
#include "rft/rollout/replay.h"
#include "rft/rollout/worlds.h"
#include "rft/select/selector.h"
#include "rft/train/options.h"

namespace rft {

/// One stage: a policy trained by one objective. Blocks that a stage leaves out are the recipe's own.
struct StageConfig {
  std::string name;  ///< the objective's type, made unique: "sft", "grpo", "grpo_2"
  Config policy, environment, rollout_block, reward, credit, select, objective;
  DataOptions data;
  RolloutOptions rollout;
  WorldsOptions worlds;                 ///< where there is an environment
  std::optional<ReplayOptions> replay;  ///< where the objective learns from single decisions
  TrainOptions train;
};

struct Recipe {
  RunOptions run;
  std::vector<StageConfig> stages;
  std::string directory() const { return run.output.empty() ? "runs/" + run.name : run.output; }

  /// Reads and checks names, types and ranges of all blocks. Throws UserError with file:line:column.
  static Recipe load(const std::string& file, const std::vector<std::string>& overrides);
  static Recipe from(const Config& config);
  /// Also checks that model directories and data files exist.
  void check_files() const;
  /// The recipe with every default written out.
  Config resolved() const;
};

/// Makes the slots of a stage. Where the recipe has no `credit`, an objective that reads advantages gets
/// group_normalized; where it has no `select`, one that learns from rollouts without advantages gets best_of_n.
std::unique_ptr<Objective> make_objective(const StageConfig& stage);
/// Whether an objective of pairs learns from the policy's own answers, of which the reward picks the pairs, rather than
/// from pairs that data.train gives (a reward then only judges held-out answers).
bool pairs_online(const StageConfig& stage, const Needs& needs);
std::unique_ptr<RewardModel> make_reward(const StageConfig& stage);  ///< nullptr where there is no `reward`
std::unique_ptr<Credit> make_credit(const StageConfig& stage);       ///< nullptr where none is needed
std::unique_ptr<Selector> make_selector(const StageConfig& stage);
/// The policy, its rollout options read.
std::unique_ptr<Policy> make_policy(const StageConfig& stage);

/// One environment of a stage that has an `environment` block.
std::unique_ptr<Environment> make_environment(const StageConfig& stage);
/// The environments of a stage that has an `environment` block; `seed` determines their episodes.
std::unique_ptr<Worlds> make_worlds(const StageConfig& stage, uint64_t seed);

/// The reward block as a weighted_sum's: a list of rewards stands for {type: weighted_sum, rewards: LIST}.
Config reward_as_sum(const Config& reward);

}  // namespace rft
