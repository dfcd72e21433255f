#include "rft/objective/gmpo.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/surrogate.h"

namespace rft {

using namespace objective;

void Gmpo::Options::visit(OptionVisitor& v) {
  v.option("clip_low", clip_low, "the log-ratio is clipped at -clip_low", at_least(0).in("nats"));
  v.option("clip_high", clip_high, "the log-ratio is clipped at clip_high; unset: clip_low", at_least(0).in("nats"));
  v.option("kl_weight", kl_weight, "weight of the KL divergence to the reference policy in the loss", at_least(0));
  v.option("entropy_quantile", entropy_quantile, "learn from this share of the tokens, those of highest entropy",
           between(0, 1));
}

Needs Gmpo::needs() const {
  Needs needs;
  needs.reward = needs.advantage = true;
  needs.ref_logp = options_.kl_weight != 0;
  needs.entropy = needs.whole_batch = options_.entropy_quantile < 1;
  return needs;
}

void Gmpo::observe(const Evaluation& now, const Experience& whole) {
  observed_threshold_ =
      entropy_quantile(required(now.entropy, "entropy", "gmpo"), whole.mask, 1 - options_.entropy_quantile)
          .item<double>();
}
void Gmpo::stepped(const Metrics&) { observed_threshold_.reset(); }

Loss Gmpo::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  double low = -options_.clip_low, high = options_.clip_high.value_or(options_.clip_low);
  double rows = std::max(batch.totals.rows, 1.0);
  Tensor acting = c.weight;
  if (options_.entropy_quantile < 1) {
    const Tensor& entropy = required(c.entropy, "entropy", "gmpo");
    double threshold = observed_threshold_
                           ? *observed_threshold_
                           : entropy_quantile(entropy, c.mask, 1 - options_.entropy_quantile).item<double>();
    acting = entropy.detach().ge(threshold).logical_and(c.mask).to(c.weight);
  }
  Tensor log_ratio = c.logp.sub(c.old_logp), clamped = log_ratio.clamp(low, high);
  Tensor positive = required(c.advantage, "advantage", "gmpo").gt(0);
  Tensor kept = at::where(positive, at::minimum(log_ratio, clamped), at::maximum(log_ratio, clamped));
  Tensor loss = row_mean(kept, acting).exp().mul(row_mean(c.advantage, c.weight)).neg();
  MetricSums metrics;
  if (options_.kl_weight != 0) {
    Tensor kl = k3(c.logp, required(c.ref_logp, "ref_logp", "gmpo"));
    loss = loss.add(row_mean(kl, c.weight), options_.kl_weight);
    metrics.tokens("kl", kl, c.weight);
  }
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  add_clip_metrics(metrics, log_ratio, low, high, c, /*by_row=*/false);
  Loss out(loss.sum().div(rows));
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
