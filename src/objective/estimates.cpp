#include "objective/estimates.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/extra.h"

namespace rft::objective {

Tensor masked_difference(const Tensor& a, const Tensor& b, const Tensor& mask) {
  Tensor kept = mask;
  while (kept.dim() < a.dim()) kept = kept.unsqueeze(-1);
  Tensor off = a.sub(b);
  return at::where(kept, off, at::zeros({}, off.options()));
}

Tensor mean_per_decision(const Tensor& x) { return x.flatten(2).mean(2); }

Tensor answer_divergence(const Evaluation& now, const Tensor& mask, const char* objective) {
  const Tensor estimate = required(now.extra.find(extra::estimate), extra::estimate, objective);
  const Tensor other = required(now.extra.find(extra::ref_estimate), extra::ref_estimate, objective);
  const Tensor scale = required(now.extra.find(extra::estimate_scale), extra::estimate_scale, objective).detach();
  Tensor each = mean_per_decision(masked_difference(estimate, other.detach(), mask).square());
  return each.div(at::where(mask, scale.square(), at::ones({}, scale.options())));
}

void add_answer_divergence(Loss& loss, MetricSums& metrics, const Evaluation& now, const Columns& c, double weight,
                           double tokens, const char* objective) {
  if (weight == 0) return;
  Tensor kl = answer_divergence(now, c.mask, objective);
  loss.terms.push_back({"kl_penalty", kl.sum().mul(weight / std::max(tokens, 1.0))});
  metrics.tokens("kl", kl, c.weight);
}

}  // namespace rft::objective
