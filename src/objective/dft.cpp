#include "rft/objective/dft.h"

#include <ATen/ATen.h>

#include "objective/divergence.h"
#include "objective/likelihood.h"

namespace rft {
namespace {

using namespace objective;

Loss weighted(const Columns& c, const Experience& batch, MetricSums& metrics) {
  return Loss(mean_nll(c, c.logp.detach().exp(), batch.totals.tokens, metrics));
}

}  // namespace

Needs Dft::needs() const {
  Needs needs;
  needs.data = Needs::Data::demonstrations;
  return needs;
}

Loss Dft::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  MetricSums metrics;
  Loss out = weighted(c, batch, metrics);
  metrics.add_to(out.metrics);
  return out;
}

void Asft::Options::visit(OptionVisitor& v) {
  v.option("kl_weight", kl_weight, "weight of the divergence from the reference", at_least(0));
  v.option("divergence", divergence, "which divergence of the whole distributions at a token",
           one_of({"forward_kl", "reverse_kl"}));
}

Needs Asft::needs() const {
  Needs needs;
  needs.data = Needs::Data::demonstrations;
  if (options_.kl_weight != 0) needs.divergence = Divergence{divergence_kind(options_.divergence)};
  return needs;
}

Loss Asft::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  MetricSums metrics;
  Loss out = weighted(c, batch, metrics);
  out.terms[0].name = "nll";
  add_divergence(out, metrics, c, options_.kl_weight, batch.totals.tokens, "asft");
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
