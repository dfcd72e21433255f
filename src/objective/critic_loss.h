#pragma once
/// The critic's term, for every objective that trains one beside the policy.
#include "objective/columns.h"
#include "rft/objective/critic_options.h"
#include "rft/objective/objective.h"

namespace rft::objective {

/// Adds the term value_loss where its weight is not 0, and the metrics value_loss (before its weight) and
/// value_clip_ratio, means over tokens. `warming`: it trains the critic's weights alone. `tokens` is N of the whole
/// batch, `name` the objective's.
void add_value_loss(Loss& loss, MetricSums& metrics, const Evaluation& now, const Experience& batch, const Columns& c,
                    const CriticOptions& options, bool warming, double tokens, const char* name);

/// A counter of optimizer steps as a checkpoint holds it; load leaves it as it is where there is none.
State steps_state(int64_t steps);
void load_steps(int64_t& steps, const State& state);

}  // namespace rft::objective
