#include "objective/surrogate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "rft/core/extra.h"
#include "rft/ops/policy_loss.h"

namespace rft::objective {
namespace {

using Options = Grpo::Options;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kLogLeast = std::log(1e-8);  // VESPO's bounds of a log-ratio
constexpr double kLogMost = 20;

bool by_row(const Options& o) { return o.ratio_level == "sequence"; }
double clip_high(const Options& o) { return o.clip_high.value_or(o.clip_low); }

/// `pos` where the condition holds, else `neg`, in like's dtype.
Tensor choose(const Tensor& condition, double pos, double neg, const Tensor& like) {
  return at::where(condition, at::full({}, pos, like.options()), at::full({}, neg, like.options()));
}

/// The sampler's importance ratio (Yao et al. 2025, truncated or masked importance sampling). Unknown (NaN) sampler
/// log-probabilities count as equal.
Tensor sampler_ratio(const Columns& c, const Options& o) {
  Tensor difference = c.old_logp.detach().sub(c.sampler_logp).nan_to_num(0.0, kInfinity, -kInfinity).mul(c.weight);
  if (o.sampler_correction.starts_with("sequence")) difference = difference.sum(1, /*keepdim=*/true);
  Tensor ratio = difference.exp();
  double low = o.sampler_correction_min.value_or(-kInfinity), high = o.sampler_correction_max.value_or(kInfinity);
  if (o.sampler_correction.ends_with("truncate")) return ratio.clamp(low, high);
  return ratio.masked_fill(ratio.lt(low).logical_or(ratio.gt(high)), 0);
}

Tensor clipped(const Columns& c, const Ratios& r, const Options& o, MetricSums& metrics) {
  double low = 1 - o.clip_low, high = 1 + clip_high(o);
  Tensor ratio = o.clip_delta ? r.ratio.clamp_max(*o.clip_delta) : r.ratio;
  add_clip_metrics(metrics, ratio, low, high, c, by_row(o));
  if (ratio.is_cpu() && ratio.sizes() == c.advantage.sizes())
    return ops::clipped_surrogate(r.ratio, c.advantage, low, high, o.clip_delta);
  return at::minimum(ratio.mul(c.advantage), r.ratio.clamp(low, high).mul(c.advantage)).neg();
}

Tensor cispo(const Columns& c, const Ratios& r, const Options& o, MetricSums& metrics) {
  double cap = clip_high(o);
  Tensor capped = r.ratio.gt(cap).logical_and(c.advantage.gt(0)).to(c.weight.scalar_type());
  by_row(o) ? metrics.rows("cispo_clip_ratio", capped, c.weight) : metrics.tokens("cispo_clip_ratio", capped, c.weight);
  return r.ratio.detach().clamp_max(cap).mul(c.advantage).mul(c.logp).neg();
}

Tensor sapo(const Columns& c, const Ratios& r, const Options& o, MetricSums&) {
  Tensor tau = choose(c.advantage.gt(0), o.sapo_tau_pos, o.sapo_tau_neg, c.logp);
  return tau.mul(r.ratio.sub(1)).sigmoid().mul(4).div(tau).mul(c.advantage).neg();
}

Tensor vespo(const Columns& c, const Ratios& r, const Options& o, MetricSums& metrics) {
  Tensor log_w = row_sum(r.log.detach().clamp(-kLogMost, kLogMost), c.weight);
  if (r.sampler.defined()) log_w = log_w.add(r.sampler.log().clamp(kLogLeast, kLogMost).sum(1, /*keepdim=*/true));
  log_w = log_w.clamp(kLogLeast, kLogMost);
  Tensor positive = c.advantage.ge(0);
  Tensor k = choose(positive, o.vespo_k_pos, o.vespo_k_neg, c.logp);
  Tensor lambda = choose(positive, o.vespo_lambda_pos, o.vespo_lambda_neg, c.logp).clamp_min(1e-4);
  Tensor phi = lambda.add(k.mul(log_w)).sub(lambda.mul(log_w.exp())).exp().nan_to_num(0.0, 0.0, 0.0);
  metrics.rows("vespo/phi_seq_mean", phi, c.weight);
  return phi.mul(c.advantage).mul(c.logp).neg();
}

}  // namespace

void add_clip_metrics(MetricSums& metrics, const Tensor& ratio, double low, double high, const Columns& c,
                      bool by_row) {
  auto bound = [&](double x) { return at::full({}, x, ratio.options().requires_grad(false)); };
  add_clip_metrics(metrics, ratio, bound(low), bound(high), c, by_row);
}

void add_clip_metrics(MetricSums& metrics, const Tensor& ratio, const Tensor& low, const Tensor& high, const Columns& c,
                      bool by_row) {
  auto add = [&](const char* name, const Tensor& hit) {
    Tensor x = hit.to(c.weight.scalar_type());
    by_row ? metrics.rows(name, x, c.weight) : metrics.tokens(name, x, c.weight);
  };
  Tensor below = ratio.lt(low).logical_and(c.advantage.lt(0));
  Tensor above = ratio.gt(high).logical_and(c.advantage.gt(0));
  add("clip_ratio/low_mean", below);
  add("clip_ratio/high_mean", above);
  add("clip_ratio/region_mean", below.logical_or(above));
}

Ratios ratios(const Columns& c, const Options& o) {
  Ratios r;
  r.log = c.logp.sub(c.old_logp);
  r.ratio = (by_row(o) ? row_mean(r.log, c.weight) : r.log).exp();
  if (o.sampler_correction != "none") r.sampler = sampler_ratio(c, o);
  return r;
}

void add_approx_kl(MetricSums& metrics, const Columns& c, const Ratios& r) {
  Tensor log = r.log.detach();
  metrics.tokens("approx_kl", log.expm1().sub(log), c.weight);
}

Tensor clipped_between(const Columns& c, const Tensor& ratio, const Tensor& low, const Tensor& high,
                       std::optional<double> most, MetricSums& metrics) {
  Tensor bounded = most ? ratio.clamp_max(*most) : ratio;
  add_clip_metrics(metrics, bounded, low, high, c, /*by_row=*/false);
  return at::minimum(bounded.mul(c.advantage), at::clamp(ratio, low, high).mul(c.advantage)).neg();
}

Tensor token_loss(const Columns& c, const Ratios& r, const Options& o, MetricSums& metrics) {
  if (o.variant == "cispo") return cispo(c, r, o, metrics);
  if (o.variant == "sapo") return sapo(c, r, o, metrics);
  if (o.variant == "vespo") return vespo(c, r, o, metrics);
  return clipped(c, r, o, metrics);
}

Tensor on_policy(const Columns& c, double threshold) {
  Tensor drift = c.sampler_logp.sub(c.logp.detach()).nan_to_num(0.0, kInfinity, -kInfinity);
  return row_mean(drift, c.weight).le(threshold).logical_or(c.advantage.ge(0));
}

Tensor hidden_reward_weight(const Columns& c, const Experience& batch, const Options& o, MetricSums& metrics) {
  Tensor influence = required(batch.extra.find(extra::token_influence), extra::token_influence, "grpo");
  Tensor anchor = required(batch.extra.find(extra::influence_anchor), extra::influence_anchor, "grpo");
  Tensor hidden = zero_where_masked(influence.to(c.weight), c.mask).mul(c.advantage.sign());
  Tensor kept = at::ones_like(c.weight);
  if (o.thr_threshold > 0) kept = hidden.abs().gt(anchor.to(c.weight).mul(o.thr_threshold).unsqueeze(1)).to(c.weight);
  metrics.tokens("thr/kept", kept, c.weight);
  metrics.tokens("thr/positive", hidden.gt(0).to(c.weight), c.weight);
  return hidden.sign().mul(o.thr).add(1).mul(kept);
}

Tensor reduce(const Tensor& loss, const Columns& c, const Options& o, double rows, double tokens) {
  rows = std::max(rows, 1.0), tokens = std::max(tokens, 1.0);
  if (o.variant == "grpo" || o.variant == "sapo") return row_mean(loss, c.weight).sum().div(rows);
  Tensor sum = loss.mul(c.weight).sum();
  if (o.variant == "luspo") return sum.div(rows);
  if (o.variant == "dr_grpo") return sum.div(rows * static_cast<double>(*o.max_completion_length));
  return sum.div(tokens);
}

}  // namespace rft::objective
