#include "rft/objective/td3.h"

#include <ATen/ATen.h>

#include "objective/transitions.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

using namespace objective;

void Td3::Options::visit(OptionVisitor& v) {
  v.option("gamma", gamma, "discount of a reward one decision later", between(0, 1));
  v.option("critics", critics, "critics, of whose estimates the least counts", at_least(1));
  v.option("tau", tau, "the slow networks move by this share towards the trained ones", between(0, 1));
  v.option("policy_delay", policy_delay, "the policy is trained, and the slow networks move, every so many steps",
           at_least(1).in("steps"));
  v.option("target_noise", target_noise, "deviation of the noise on the slow policy's actions, of half their range",
           at_least(0));
  v.option("target_noise_clip", target_noise_clip, "that noise is kept within", at_least(0));
}

Needs Td3::needs() const {
  Needs needs;
  needs.data = Needs::Data::transitions;
  needs.reward = true;
  QNeeds q;
  q.critics = options_.critics, q.tau = options_.tau, q.target_every = options_.policy_delay;
  q.gamma = options_.gamma, q.next = q.own = true, q.slow_policy = true;
  q.target_noise = options_.target_noise, q.target_noise_clip = options_.target_noise_clip;
  needs.q = q;
  return needs;
}

Loss Td3::loss(const Evaluation& now, const Experience& batch) const {
  Transitions t = read_transitions(now, batch, options_.gamma, "td3");
  Tensor q = t.columns(promised(now, extra::q, "td3"));
  Tensor expected = std::get<0>(t.columns(promised(now, extra::next_q, "td3")).min(2));
  Tensor target = t.target(expected).detach();
  Tensor critic = q.sub(target.unsqueeze(2)).square().sum(2);
  Loss out;
  MetricSums metrics;
  out.terms.push_back({"critic_loss", t.mean(critic), {groups::critic}});
  metrics.tokens("critic_loss", critic, t.weight);
  if ((steps_ + 1) % options_.policy_delay == 0) {
    Tensor actor = t.columns(promised(now, extra::actor_q, "td3")).select(2, 0).neg();
    out.terms.push_back({"actor_loss", t.mean(actor), {groups::policy}});
    metrics.tokens("actor_loss", actor, t.weight);
  }
  add_q_metrics(metrics, t, q, target);
  metrics.add_to(out.metrics);
  return out;
}

State Td3::state() const { return {{"steps", at::tensor({steps_}, at::kLong)}}; }

void Td3::load_state(const State& state) {
  auto found = state.find("steps");
  if (found == state.end() || found->second.numel() != 1) bad_input("checkpoint", "td3's count of steps is missing");
  steps_ = found->second.item<int64_t>();
}

}  // namespace rft
