#include "rft/objective/covariance.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "objective/surrogate.h"
#include "rft/core/error.h"

namespace rft {
namespace {

using namespace objective;

Columns read(const Evaluation& now, const Experience& batch) {
  Columns c = read_columns(now, batch, batch.mask);
  required(c.advantage, "advantage", "covariance");
  return c;
}

Grpo::Options clipping(const Covariance::Options& o) {
  Grpo::Options out;
  out.clip_low = o.clip_low, out.clip_high = o.clip_high;
  return out;
}

/// [B, T] bool: what may be picked at all.
Tensor eligible(const Columns& c, const Tensor& cov, const Covariance::Options& o) {
  if (o.variant == "kl_cov") return c.mask;
  Tensor ratio = c.logp.detach().sub(c.old_logp).exp(), a = c.advantage;
  Tensor clipped = ratio.lt(1 - o.clip_low)
                       .logical_and(a.lt(0))
                       .logical_or(ratio.gt(1 + o.clip_high.value_or(o.clip_low)).logical_and(a.gt(0)));
  return c.mask.logical_and(cov.gt(o.cov_low)).logical_and(cov.lt(o.cov_high)).logical_and(clipped.logical_not());
}

Tensor covariance(const Columns& c, double mean_advantage, double mean_logp) {
  return c.advantage.sub(mean_advantage).mul(c.logp.detach().sub(mean_logp));
}

}  // namespace

void Covariance::Options::visit(OptionVisitor& v) {
  v.option("variant", variant, "published form of the loss", one_of({"clip_cov", "kl_cov"}));
  v.option("clip_low", clip_low, "clip_cov: the ratio is clipped at 1 - clip_low", at_least(0));
  v.option("clip_high", clip_high, "clip_cov: the ratio is clipped at 1 + clip_high; unset: clip_low", at_least(0));
  v.option("share", share, "the share of the batch's tokens, those of highest covariance, that are picked",
           between(0, 1));
  v.option("cov_low", cov_low, "clip_cov: only tokens of a covariance above this are picked");
  v.option("cov_high", cov_high, "clip_cov: only tokens of a covariance below this are picked");
  v.option("kl_weight", kl_weight, "kl_cov: weight of |logp - old_logp| of the picked tokens", at_least(0));
}

Covariance::Covariance(Options options) : options_(std::move(options)) {
  if (options_.cov_low >= options_.cov_high)
    bad_input("objective", "cov_low must be below cov_high; got ", options_.cov_low, " and ", options_.cov_high);
}

Needs Covariance::needs() const {
  Needs needs;
  needs.reward = needs.advantage = needs.whole_batch = true;
  return needs;
}

Covariance::Statistics Covariance::measure(const Evaluation& now, const Experience& batch) const {
  Columns c = read(now, batch);
  Statistics out;
  double tokens = std::max(c.mask.sum().item<double>(), 1.0);
  out.mean_advantage = c.advantage.mul(c.weight).sum(at::kDouble).item<double>() / tokens;
  out.mean_logp = c.logp.detach().sum(at::kDouble).item<double>() / tokens;
  Tensor cov = covariance(c, out.mean_advantage, out.mean_logp);
  Tensor able = cov.masked_select(eligible(c, cov, options_));
  int64_t count = std::min(std::max<int64_t>(std::llround(std::floor(options_.share * tokens)), 1), able.numel());
  out.threshold =
      count == 0 ? std::numeric_limits<double>::infinity() : std::get<0>(able.topk(count)).min().item<double>();
  return out;
}

void Covariance::observe(const Evaluation& now, const Experience& whole) { observed_ = measure(now, whole); }

Loss Covariance::loss(const Evaluation& now, const Experience& batch) const {
  if (!observed_ && batch.totals.rows != static_cast<double>(batch.rows()))
    run_failed("covariance", "picks tokens of the whole batch, and ", batch.rows(), " of ", batch.totals.rows,
               " rows came without observe()");
  Statistics whole = observed_ ? *observed_ : measure(now, batch);
  Columns c = read(now, batch);
  Tensor cov = covariance(c, whole.mean_advantage, whole.mean_logp);
  // The same numbers in another order of summation must not lose the last token that counts.
  Tensor picked = cov.ge(whole.threshold - 1e-6 * std::abs(whole.threshold)).logical_and(eligible(c, cov, options_));
  Tensor chosen = picked.to(c.weight.scalar_type());
  MetricSums metrics;
  Tensor each;
  if (options_.variant == "clip_cov") {
    each = token_loss(c, ratios(c, clipping(options_)), clipping(options_), metrics).mul(chosen.neg().add(1));
  } else {
    Tensor difference = c.logp.sub(c.old_logp);
    each = difference.exp().mul(c.advantage).neg().add(difference.abs().mul(chosen), options_.kl_weight);
  }
  Loss out(each.mul(c.weight).sum().div(std::max(batch.totals.tokens, 1.0)));
  metrics.tokens("cov_ratio", chosen, c.weight);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
