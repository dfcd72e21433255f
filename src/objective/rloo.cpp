#include "rft/objective/rloo.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/surrogate.h"

namespace rft {

using namespace objective;

void Rloo::Options::visit(OptionVisitor& v) {
  v.option("clip_low", clip_low, "the row's ratio is clipped at 1 - clip_low", at_least(0));
  v.option("clip_high", clip_high, "the row's ratio is clipped at 1 + clip_high; unset: clip_low", at_least(0));
}

Needs Rloo::needs() const {
  Needs needs;
  needs.reward = needs.advantage = true;
  needs.credit = "leave_one_out";
  return needs;
}

Loss Rloo::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  double low = 1 - options_.clip_low, high = 1 + options_.clip_high.value_or(options_.clip_low);
  Tensor ratio = row_sum(c.logp.sub(c.old_logp), c.weight).exp();
  Tensor advantage = row_mean(required(c.advantage, "advantage", "rloo"), c.weight);
  Tensor loss = at::minimum(ratio.mul(advantage), ratio.clamp(low, high).mul(advantage)).neg();
  MetricSums metrics;
  add_clip_metrics(metrics, ratio, low, high, c, /*by_row=*/true);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  Loss out(loss.sum().div(std::max(batch.totals.rows, 1.0)));
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
