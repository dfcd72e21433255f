#include "rft/objective/distillation.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"
#include "rft/core/extra.h"

namespace rft {

using namespace objective;

void Distillation::Options::visit(OptionVisitor& v) {
  v.option("beta", beta, "0: KL(teacher || policy), 1: KL(policy || teacher), between: Jensen-Shannon", between(0, 1));
  v.option("on_policy", on_policy, "learn on what the policy samples for data.prompts, instead of on data.train");
}

Needs Distillation::needs() const {
  using Kind = Divergence::Kind;
  Needs needs;
  needs.data = options_.on_policy ? Needs::Data::rollout : Needs::Data::demonstrations;
  Kind kind = options_.beta == 0 ? Kind::forward_kl : options_.beta == 1 ? Kind::reverse_kl : Kind::jensen_shannon;
  needs.divergence = Divergence{kind, options_.beta};
  return needs;
}

Loss Distillation::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  const Tensor& each = required(c.divergence, extra::divergence, "distillation");
  Loss out(each.sum().div(std::max(batch.totals.tokens, 1.0)));
  MetricSums metrics;
  metrics.tokens("divergence", each, c.weight);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
