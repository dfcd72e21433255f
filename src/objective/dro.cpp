#include "rft/objective/dro.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"

namespace rft {

using namespace objective;

void Dro::Options::visit(OptionVisitor& v) {
  v.option("beta", beta, "how closely the policy is held to its anchor, in units of the advantage", at_least(0));
  v.option("ratio_level", ratio_level, "the log-ratio of each token, or of the whole row",
           one_of({"token", "sequence"}));
  v.option("anchor", anchor, "the policy at the start of the updates, or the reference", one_of({"old", "reference"}));
}

Needs Dro::needs() const {
  Needs needs;
  needs.reward = needs.advantage = true;
  needs.ref_logp = options_.anchor == "reference";
  return needs;
}

Loss Dro::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  const Tensor& advantage = required(c.advantage, "advantage", "dro");
  Tensor off = c.logp.sub(needs().ref_logp ? required(c.ref_logp, "ref_logp", "dro") : c.old_logp);
  MetricSums metrics;
  Tensor distance = off.square().div(2), gain = advantage.mul(c.logp);
  metrics.tokens("policy_loss", gain.neg().add(distance, options_.beta), c.weight);
  metrics.tokens("distance", distance, c.weight);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  Loss out;
  if (options_.ratio_level == "token") {
    double tokens = std::max(batch.totals.tokens, 1.0);
    out.terms.push_back({"loss", gain.sub(distance, options_.beta).sum().div(-tokens)});
  } else {
    Tensor rows = row_mean(advantage, c.weight).mul(row_sum(c.logp, c.weight));
    rows = rows.sub(row_sum(off, c.weight).square().div(2), options_.beta);
    out.terms.push_back({"loss", rows.sum().div(-std::max(batch.totals.rows, 1.0))});
  }
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
