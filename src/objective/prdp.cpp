#include "rft/objective/prdp.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"
#include "objective/pair_columns.h"
#include "objective/pair_margin.h"

namespace rft {
namespace {

using namespace objective;

/// [pairs]: the summed column of the better answers less that of the worse.
Tensor difference(const Tensor& column) {
  PairOf sums = halves(column.sum(1), "prdp");
  return sums.chosen.sub(sums.rejected);
}

}  // namespace

void Prdp::Options::visit(OptionVisitor& v) {
  v.option("beta", beta, "weight of the KL divergence to the reference, in units of the reward", above(0));
  v.option("clip", clip, "a log-probability that moves further than this at a time teaches nothing more; 0 = never",
           at_least(0));
}

Needs Prdp::needs() const {
  Needs needs;
  needs.data = Needs::Data::pairs;
  needs.reward = needs.ref_logp = true;
  return needs;
}

Loss Prdp::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  const Tensor& ref = required(c.ref_logp, "ref_logp", "prdp");
  Tensor margin = pair_margin(batch, c.logp, "prdp"), kept = margin.isnan().logical_not();
  Tensor wanted = zero_where_masked(margin, kept).div(options_.beta);
  Tensor predicted = difference(c.logp.sub(ref));
  Tensor error = predicted.sub(wanted).square(), clipped = at::zeros_like(kept);
  if (options_.clip > 0) {
    Tensor held = c.logp.sub(c.old_logp).clamp(-options_.clip, options_.clip).add(c.old_logp);
    Tensor other = difference(held.sub(ref)).sub(wanted).square();
    clipped = other.gt(error);
    error = at::maximum(error, other);
  }
  error = zero_where_masked(error, kept);
  Loss out(error.sum().div(std::max(batch.totals.rows / 2, 1.0)));
  MetricSums metrics;
  Tensor each = kept.to(error.scalar_type());
  metrics.tokens("reward_difference", zero_where_masked(margin, kept), each);
  metrics.tokens("predicted_difference", predicted.mul(options_.beta), each);
  metrics.tokens("clip_ratio", clipped.to(error.scalar_type()), each);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
