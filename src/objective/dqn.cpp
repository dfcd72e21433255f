#include "rft/objective/dqn.h"

#include <ATen/ATen.h>

#include "objective/transitions.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

using namespace objective;

void Dqn::Options::visit(OptionVisitor& v) {
  v.option("gamma", gamma, "discount of a reward one decision later", between(0, 1));
  v.option("tau", tau, "the slow network moves by this share towards the trained one; 1: it becomes it", between(0, 1));
  v.option("target_every", target_every, "it moves every so many steps", at_least(1).in("steps"));
  v.option("double_q", double_q,
           "the trained network says what is done next and the slow one what that is worth (double DQN); false: the "
           "slow one says both");
}

Needs Dqn::needs() const {
  Needs needs;
  needs.data = Needs::Data::transitions;
  needs.reward = true;
  QNeeds q;
  q.critics = 1, q.tau = options_.tau, q.target_every = options_.target_every, q.gamma = options_.gamma;
  q.next = true, q.slow_policy = !options_.double_q;
  needs.q = q;
  return needs;
}

Loss Dqn::loss(const Evaluation& now, const Experience& batch) const {
  if (batch.action.is_floating_point())
    bad_input("objective", "dqn learns what choices are worth, and these actions are numbers: use sac or td3");
  Transitions t = read_transitions(now, batch, options_.gamma, "dqn");
  Tensor q = t.columns(promised(now, extra::q, "dqn"));
  Tensor next = t.columns(promised(now, extra::next_q, "dqn")).select(2, 0);
  Tensor target = t.target(next).detach();
  Tensor critic = at::huber_loss(q.select(2, 0), target, at::Reduction::None, /*delta=*/1.0);
  Loss out;
  MetricSums metrics;
  out.terms.push_back({"critic_loss", t.mean(critic), {groups::critic}});
  metrics.tokens("critic_loss", critic, t.weight);
  add_q_metrics(metrics, t, q, target);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
