#pragma once
/// Clean samples as a denoiser estimates them, from T noisy versions of each (core/extra.h).
#include "objective/columns.h"
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft::objective {

/// a - b of [B, T, ...], 0 where masked: what stood there reaches neither value nor gradient.
Tensor masked_difference(const Tensor& a, const Tensor& b, const Tensor& mask);

/// [B, T]: the mean over all other dimensions.
Tensor mean_per_decision(const Tensor& x);

/// [B, T]: the mean squared difference of the denoiser's answers, noise or velocity, from the reference's: that of the
/// estimates over extra::estimate_scale squared; 0 where masked.
Tensor answer_divergence(const Evaluation& now, const Tensor& mask, const char* objective);

/// Adds the term kl_penalty, `weight` times answer_divergence over `tokens`, and the metric kl; nothing where 0.
void add_answer_divergence(Loss& loss, MetricSums& metrics, const Evaluation& now, const Columns& c, double weight,
                           double tokens, const char* objective);

}  // namespace rft::objective
