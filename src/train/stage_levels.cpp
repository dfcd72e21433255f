// The second batch of objectives of two levels.
#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/core/registry.h"
#include "rft/core/rng.h"
#include "rft/train/bi_level_update.h"
#include "train/recipe_blocks.h"
#include "train/stage_trainer.h"
#include "train/streams.h"

namespace rft {

/// As many rows of `data.meta` as a step takes of the others; rolled out, with rewards and credit, where the objective
/// learns from rollouts, every row of which counts.
Experience StageTrainer::meta_batch(Metrics& metrics) {
  uint64_t seed = mix(seed_, kMeta);
  if (needs_.data != Needs::Data::rollout) return draw_rows_of(meta_, meta_cursor_, seed);
  gather_weights();
  CollectOptions options = collect_options();
  options.given = nullptr, options.reference_answers = 0;
  auto all = registry<Selector>().make(typed("all"));
  RolloutSlots slots{*policy_, reward_.get(), credit_.get(), *all, nullptr, processes_};
  Metrics found;
  Experience out = collect(slots, meta_, meta_cursor_, mix(seed, static_cast<uint64_t>(steps_)), options, found);
  if (found.has("reward")) metrics.add("meta/reward", found.mean("reward"));
  return out;
}

void StageTrainer::learn_outer(Experience& batch, const UpdateOptions& options, Metrics& metrics) {
  Experience second = meta_batch(metrics);
  if (second.rows() == 0) return;
  std::string problem;
  auto slopes = outer_slopes(*policy_, *objective_, *levels_, *optimizer_, batch, second, needs_, options, problem);
  if (!problem.empty()) return log::warn(cat("step ", steps_, " learned nothing from data.meta: ", problem));
  levels_->learn_outer(slopes);
}

}  // namespace rft
