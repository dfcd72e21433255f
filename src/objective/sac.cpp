#include "rft/objective/sac.h"

#include <ATen/ATen.h>

#include <cmath>

#include "objective/transitions.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

using namespace objective;

void Sac::Options::visit(OptionVisitor& v) {
  v.option("gamma", gamma, "discount of a reward one decision later", between(0, 1));
  v.option("critics", critics, "critics, of whose estimates the least counts", at_least(1));
  v.option("tau", tau, "the slow critics move by this share towards the trained ones", between(0, 1));
  v.option("target_every", target_every, "they move every so many steps", at_least(1).in("steps"));
  v.option("temperature", temperature, "weight of the entropy (alpha); null = learned", at_least(0));
  v.option("initial_temperature", initial_temperature, "where the learned temperature starts", above(0));
  v.option("target_entropy", target_entropy, "entropy the learned temperature aims at; null = -(numbers of an action)",
           unit("nats"));
  v.option("backup_entropy", backup_entropy, "the critics count the entropy to come as reward");
}

Sac::Sac(Options options) : options_(options) {
  double start = options_.temperature.value_or(options_.initial_temperature);
  log_temperature_ = at::full({1}, std::log(start), at::kFloat);
  if (!options_.temperature) log_temperature_.requires_grad_(true);
}

Needs Sac::needs() const {
  Needs needs;
  needs.data = Needs::Data::transitions;
  needs.reward = true;
  QNeeds q;
  q.critics = options_.critics, q.tau = options_.tau, q.target_every = options_.target_every;
  q.gamma = options_.gamma, q.next = q.own = true;
  needs.q = q;
  return needs;
}

Loss Sac::loss(const Evaluation& now, const Experience& batch) const {
  Transitions t = read_transitions(now, batch, options_.gamma, "sac");
  Tensor q = t.columns(promised(now, extra::q, "sac"));
  Tensor next_logp = t.column(promised(now, extra::next_logp, "sac")), logp = promised(now, extra::actor_logp, "sac");
  Tensor alpha = log_temperature_.detach().exp().to(t.weight.options()).squeeze(0);

  Tensor expected = std::get<0>(t.columns(promised(now, extra::next_q, "sac")).min(2));
  if (options_.backup_entropy) expected = expected.sub(next_logp.mul(alpha));
  Tensor target = t.target(expected).detach();
  Tensor critic = q.sub(target.unsqueeze(2)).square().sum(2).mul(0.5);
  Tensor best = std::get<0>(t.columns(promised(now, extra::actor_q, "sac")).min(2));
  logp = t.column(logp);
  Tensor actor = logp.mul(alpha).sub(best);

  Loss out;
  out.terms.push_back({"critic_loss", t.mean(critic), {groups::critic}});
  out.terms.push_back({"actor_loss", t.mean(actor), {groups::policy}});
  if (!options_.temperature) {
    double aim = options_.target_entropy.value_or(-static_cast<double>(batch.action.size(-1)));
    Tensor excess = t.mean(logp.detach().add(aim));
    out.terms.push_back({"temperature_loss", log_temperature_.mul(excess).neg().sum(), {groups::objective}});
  }
  MetricSums metrics;
  metrics.tokens("critic_loss", critic, t.weight), metrics.tokens("actor_loss", actor, t.weight);
  metrics.tokens("entropy", logp.neg(), t.weight);
  add_q_metrics(metrics, t, q, target);
  metrics.add_to(out.metrics);
  out.metrics.add("temperature", alpha.item<double>());
  return out;
}

std::vector<Parameter> Sac::parameters() {
  if (options_.temperature) return {};
  return {{"log_temperature", log_temperature_, /*decay=*/false, groups::objective}};
}

State Sac::state() const { return {{"log_temperature", log_temperature_.detach()}}; }

void Sac::load_state(const State& state) {
  auto found = state.find("log_temperature");
  if (found == state.end() || found->second.numel() != 1) bad_input("checkpoint", "sac's log_temperature is missing");
  log_temperature_.detach().copy_(found->second);
}

}  // namespace rft
