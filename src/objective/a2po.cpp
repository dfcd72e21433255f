#include "rft/objective/a2po.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"
#include "rft/ops/groups.h"

namespace rft {

using namespace objective;

void A2po::Options::visit(OptionVisitor& v) {
  v.option("beta", beta, "weight of the KL divergence to the reference that the optimum has, in units of the reward",
           above(0));
}

Needs A2po::needs() const {
  Needs needs;
  needs.reward = needs.advantage = needs.ref_logp = true;
  needs.credit = "optimal_value";
  return needs;
}

Loss A2po::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  Tensor implicit = row_sum(c.logp.sub(required(c.ref_logp, "ref_logp", "a2po")), c.weight).mul(options_.beta);
  Tensor advantage = row_mean(required(c.advantage, "advantage", "a2po"), c.weight);
  Tensor kept = c.mask.any(1, /*keepdim=*/true);
  if (batch.reward.defined()) kept = kept.logical_and(ops::row_rewards(batch).isnan().logical_not().unsqueeze(1));
  Tensor each = zero_where_masked(implicit.sub(advantage).square(), kept);
  Loss out(each.sum().div(std::max(batch.totals.rows, 1.0)));
  MetricSums metrics;
  Tensor rows = kept.to(c.weight.scalar_type());
  metrics.tokens("implicit_reward", implicit, rows);
  metrics.tokens("optimal_advantage", advantage, rows);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
