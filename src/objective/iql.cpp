#include "rft/objective/iql.h"

#include <ATen/ATen.h>

#include "objective/transitions.h"
#include "rft/core/extra.h"

namespace rft {

using namespace objective;

void Iql::Options::visit(OptionVisitor& v) {
  v.option("gamma", gamma, "discount of a reward one decision later", between(0, 1));
  v.option("critics", critics, "critics, of whose estimates the least counts", at_least(1));
  v.option("tau", tau, "the slow critics move by this share towards the trained ones", between(0, 1));
  v.option("expectile", expectile, "of the actions that were seen: 0.5 = their mean, towards 1 = the best of them",
           between(0, 1));
  v.option("beta", beta, "how much more the policy learns from better actions; 0 = imitation", at_least(0));
  v.option("advantage_cap", advantage_cap, "a decision counts at most so many times", above(0));
}

Needs Iql::needs() const {
  Needs needs;
  needs.data = Needs::Data::transitions;
  needs.reward = needs.value = true;
  QNeeds q;
  q.critics = options_.critics, q.tau = options_.tau, q.gamma = options_.gamma;
  q.slow = q.next_value = q.behaviour = true;
  needs.q = q;
  return needs;
}

Loss Iql::loss(const Evaluation& now, const Experience& batch) const {
  Transitions t = read_transitions(now, batch, options_.gamma, "iql");
  Tensor q = t.columns(promised(now, extra::q, "iql"));
  Tensor seen = std::get<0>(t.columns(promised(now, extra::target_q, "iql")).min(2)).detach();
  Tensor value = t.column(required(now.value, "value", "iql")), logp = t.column(required(now.logp, "logp", "iql"));
  Tensor next = t.column(promised(now, extra::next_value, "iql")).detach();

  Tensor ahead = seen.sub(value);
  Tensor side = at::where(ahead.detach().lt(0), at::full({}, 1 - options_.expectile, ahead.options()),
                          at::full({}, options_.expectile, ahead.options()));
  Tensor expectile = side.mul(ahead.square());
  Tensor target = t.target(next);
  Tensor critic = q.sub(target.unsqueeze(2)).square().mean(2);
  Tensor weight = ahead.detach().mul(options_.beta).exp().clamp_max(options_.advantage_cap);
  Tensor actor = weight.mul(logp).neg();

  Loss out;
  out.terms.push_back({"value_loss", t.mean(expectile), {groups::critic}});
  out.terms.push_back({"critic_loss", t.mean(critic), {groups::critic}});
  out.terms.push_back({"actor_loss", t.mean(actor), {groups::policy}});
  MetricSums metrics;
  metrics.tokens("value_loss", expectile, t.weight), metrics.tokens("critic_loss", critic, t.weight);
  metrics.tokens("actor_loss", actor, t.weight), metrics.tokens("advantage_weight", weight, t.weight);
  add_q_metrics(metrics, t, q, target);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
