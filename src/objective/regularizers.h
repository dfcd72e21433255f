#pragma once
/// The terms beside the policy's loss that several policy-gradient objectives share.
#include "objective/columns.h"
#include "rft/objective/objective.h"
#include "rft/objective/regularizer_options.h"

namespace rft::objective {

/// Adds the terms entropy_bonus and kl_penalty where their weights are not 0, and the metrics entropy (where it was
/// computed) and kl (means over tokens). `tokens` is N of the whole batch, `name` the objective's.
void add_regularizers(Loss& loss, MetricSums& metrics, const Columns& c, const RegularizerOptions& options,
                      double tokens, const char* name);

/// kl_target's rule, after a step with these metrics; and what of it a checkpoint holds.
void adapt_kl_weight(RegularizerOptions& options, const Metrics& metrics);
State regularizer_state(const RegularizerOptions& options);
void load_regularizer_state(RegularizerOptions& options, const State& state);

}  // namespace rft::objective
