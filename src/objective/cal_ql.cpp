#include <ATen/ATen.h>

#include "objective/transitions.h"
#include "rft/core/extra.h"
#include "rft/objective/sac.h"

namespace rft {

using namespace objective;

void CalQl::Options::visit(OptionVisitor& v) {
  Sac::Options::visit(v);
  v.option("cql_weight", cql_weight, "weight of the conservative loss", at_least(0));
  v.option("cql_temperature", cql_temperature, "temperature of its log-sum-exp", above(0));
  v.option("cql_samples", cql_samples, "actions drawn from each of three sources", at_least(1));
  v.option("calibrated", calibrated,
           "estimates of the policy's actions count as at least the return that was seen (Cal-QL); false: CQL");
}

Needs CalQl::needs() const {
  Needs needs = sac_.needs();
  needs.q->samples = options_.cql_samples;
  needs.q->returns = options_.calibrated;
  return needs;
}

Loss CalQl::loss(const Evaluation& now, const Experience& batch) const {
  Loss out = sac_.loss(now, batch);
  Transitions t = read_transitions(now, batch, options_.gamma, "cal_ql");
  Tensor q = t.columns(promised(now, extra::q, "cal_ql"));
  Tensor others = t.columns(promised(now, extra::sampled_q, "cal_ql"));   // [B, T, K, 3M]
  Tensor logp = t.columns(promised(now, extra::sampled_logp, "cal_ql"));  // [B, T, 3M]
  MetricSums metrics;
  if (options_.calibrated) {
    Tensor seen = t.column(required(batch.extra.find(extra::returns), extra::returns, "cal_ql"));
    Tensor bound = seen.unsqueeze(2).unsqueeze(3);
    int64_t M = options_.cql_samples;
    Tensor drawn = others.narrow(3, M, 2 * M);
    metrics.tokens("cql/bound_rate", drawn.detach().lt(bound).to(t.weight.scalar_type()).mean({2, 3}), t.weight);
    others = at::cat({others.narrow(3, 0, M), at::maximum(drawn, bound)}, 3);
  }
  double temperature = options_.cql_temperature;
  Tensor soft = others.sub(logp.unsqueeze(2)).div(temperature).logsumexp(3).mul(temperature);  // [B, T, K]
  Tensor conservative = t.columns(soft).sub(q).sum(2);
  out.terms.push_back({"conservative_loss", t.mean(conservative).mul(options_.cql_weight), {groups::critic}});
  metrics.tokens("conservative_loss", conservative, t.weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
