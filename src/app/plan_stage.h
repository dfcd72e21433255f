#pragma once
/// What a recipe's stage takes, and on how many processes it fits: for `rft plan` and `rft check`.
#include <optional>
#include <string>
#include <vector>

#include "app/plan_model.h"
#include "rft/train/recipe.h"

namespace rft::app {

struct StagePlan {
  PlanModel model;
  PlanLoad load;
};
/// Whether the stage's policy is of a type that plans are made of (causal_lm).
bool has_plan(const StageConfig& stage);
/// From the recipe and the model's config.json; rows are read for their mean length where `tokens` is 0. Throws
/// UserError where there is no plan, or no config.json.
StagePlan plan_stage(const StageConfig& stage, double tokens = 0);

/// A number of processes and what they share.
struct PlannedLayout {
  int64_t processes = 1;  ///< in all
  int64_t data = 1;       ///< of them share the rows
  Sharding sharding = Sharding::none;
  PlanMemory memory;
  double total = 0;  ///< bytes of a process, the program's own included
  bool fits = false;
};
/// The sharding's name in a recipe.
const char* name_of(Sharding sharding);
/// One layout; `memory`: bytes of a process, 0 where nobody says.
PlannedLayout planned_layout(const StagePlan& plan, int64_t data, Sharding sharding, double memory);
/// Those of 1, 2, 4, ... `most` processes, in the order of what they cost: processes first, then what is sent.
std::vector<PlannedLayout> planned_layouts(const StagePlan& plan, int64_t most, double memory);
/// Which of them is the first that fits, in words: "the smallest that fits 40 GB: 2 processes, train.shard=optimizer".
std::string smallest_that_fits(const std::vector<PlannedLayout>& layouts, double memory);

}  // namespace rft::app
