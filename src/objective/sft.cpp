#include "rft/objective/sft.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/divergence.h"
#include "objective/likelihood.h"

namespace rft {

using namespace objective;

Needs Sft::needs() const {
  Needs needs;
  needs.data = Needs::Data::demonstrations;
  return needs;
}

Loss Sft::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  MetricSums metrics;
  Loss out(mean_nll(c, {}, batch.totals.tokens, metrics));
  metrics.add_to(out.metrics);
  return out;
}

void Raft::Options::visit(OptionVisitor& v) {
  v.option("kl_weight", kl_weight, "weight of the KL divergence (k3) to the reference on the same tokens (SuperHF)",
           at_least(0));
  v.option("divergence_weight", divergence_weight,
           "weight of a divergence of the whole distributions from the reference's (Quark)", at_least(0));
  v.option("divergence", divergence, "which divergence", one_of({"forward_kl", "reverse_kl"}));
}

Needs Raft::needs() const {
  Needs needs;
  needs.reward = true;
  needs.best_rows = true;
  needs.ref_logp = options_.kl_weight != 0;
  if (options_.divergence_weight != 0) needs.divergence = Divergence{divergence_kind(options_.divergence)};
  return needs;
}

Loss Raft::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  MetricSums metrics;
  Loss out(mean_nll(c, {}, batch.totals.tokens, metrics));
  if (options_.kl_weight != 0) {
    Tensor kl = k3(c.logp, required(c.ref_logp, "ref_logp", "raft"));
    out.terms.push_back({"kl_penalty", kl.sum().mul(options_.kl_weight / std::max(batch.totals.tokens, 1.0))});
    metrics.tokens("kl", kl, c.weight);
  }
  add_divergence(out, metrics, c, options_.divergence_weight, batch.totals.tokens, "raft");
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
