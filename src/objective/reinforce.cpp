#include "rft/objective/reinforce.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/regularizers.h"

namespace rft {

using namespace objective;

Needs Reinforce::needs() const {
  Needs needs = options_.needs();
  needs.reward = needs.advantage = true;
  return needs;
}

void Reinforce::stepped(const Metrics& metrics) { adapt_kl_weight(options_, metrics); }
State Reinforce::state() const { return regularizer_state(options_); }
void Reinforce::load_state(const State& state) { load_regularizer_state(options_, state); }

Loss Reinforce::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  Tensor each = required(c.advantage, "advantage", "reinforce").mul(c.logp).neg();
  Loss out;
  out.terms.push_back({"policy_loss", each.sum().div(std::max(batch.totals.tokens, 1.0))});
  MetricSums metrics;
  metrics.tokens("policy_loss", each, c.weight);
  add_regularizers(out, metrics, c, options_, batch.totals.tokens, "reinforce");
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
