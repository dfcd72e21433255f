#pragma once
/// Divergences of whole distributions, which the policy computes and objectives weigh.
#include <string>

#include "objective/columns.h"
#include "rft/objective/objective.h"

namespace rft::objective {

/// The kind that an option names: reverse_kl, forward_kl, jensen_shannon, alpha.
Divergence::Kind divergence_kind(const std::string& name);

/// [B, T]: extra::divergence of `now` with its gradient, 0 where masked. Throws RunError where it is missing.
Tensor divergence_column(const Evaluation& now, const Columns& c, const char* objective);

/// Adds the term divergence, `weight` times its mean over `tokens`, and the metric kl; nothing where weight is 0.
void add_divergence(Loss& loss, MetricSums& metrics, const Evaluation& now, const Columns& c, double weight,
                    double tokens, const char* objective);

}  // namespace rft::objective
