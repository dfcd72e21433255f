#include "rft/objective/sampled_distillation.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"

namespace rft {

using namespace objective;

void SampledDistillation::Options::visit(OptionVisitor& v) {
  v.option("prefix_weight", prefix_weight, "how much more a token counts before its row has left the teacher's ways",
           at_least(0));
}

Needs SampledDistillation::needs() const {
  Needs needs;
  needs.ref_logp = true;
  return needs;
}

Loss SampledDistillation::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  Tensor a = required(c.ref_logp, "ref_logp", "sampled_distillation").sub(c.old_logp.detach());
  Tensor size = a.abs(), total = size.sum(1, /*keepdim=*/true).clamp_min(1e-8);
  Tensor before = size.cumsum(1).sub(size).div(total);
  Tensor weight = before.neg().add(1).mul(options_.prefix_weight).add(1);
  Tensor advantage = weight.mul(a);
  Loss out(advantage.mul(c.logp).sum().neg().div(std::max(batch.totals.tokens, 1.0)));
  MetricSums metrics;
  metrics.tokens("teacher_advantage", advantage, c.weight);
  metrics.tokens("kl", a.neg(), c.weight);
  metrics.tokens("prefix_weight", weight, c.weight);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
