#pragma once
/// The likelihood of given tokens, which supervised objectives raise.
#include "objective/columns.h"

namespace rft::objective {

/// Scalar: -(1 / tokens) sum m weight logp; `weight` [B, T] or [B, 1], undefined: 1. Adds metrics mean_token_nll and,
/// where it was computed, entropy.
Tensor mean_nll(const Columns& c, const Tensor& weight, double tokens, MetricSums& metrics);

}  // namespace rft::objective
