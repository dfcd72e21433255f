#pragma once
/// Divergences of whole distributions, which the policy computes and objectives weigh.
#include <string>

#include "objective/columns.h"
#include "rft/objective/objective.h"

namespace rft::objective {

/// The kind that an option names: reverse_kl, forward_kl, jensen_shannon, alpha.
Divergence::Kind divergence_kind(const std::string& name);

/// Adds the term divergence, `weight` times its mean over `tokens`, and the metric divergence; nothing where weight is
/// 0. Throws RunError where the batch has none.
void add_divergence(Loss& loss, MetricSums& metrics, const Columns& c, double weight, double tokens,
                    const char* objective);

}  // namespace rft::objective
