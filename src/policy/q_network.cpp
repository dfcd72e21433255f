#include "rft/policy/q_network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "policy/q_critics.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"

namespace rft {

void QNetwork::Options::visit(OptionVisitor& v) {
  NetworkActor::Options::visit(v);
  v.option("epsilon", epsilon, "probability of a random choice when learning begins", between(0, 1));
  v.option("last_epsilon", last_epsilon, "and what it falls to, linearly", between(0, 1));
  v.option("epsilon_decisions", epsilon_decisions, "in so many decisions, those of the replay's warmup not counted",
           at_least(1).in("decisions"));
}

QNetwork::QNetwork(Options options) : NetworkActor(options), options_(std::move(options)) {
  if (options_.last_epsilon > options_.epsilon)
    bad_input("policy", "last_epsilon must not be above epsilon, ", options_.epsilon, "; got ", options_.last_epsilon);
}

void QNetwork::check(const EnvironmentSpec& world) const {
  if (!world.action.discrete())
    bad_input("policy", "q_network takes one of several choices, and the actions of '", world.name, "' are ",
              world.action.size(), " numbers: use gaussian or deterministic");
}

void QNetwork::build(const Needs& needs, uint64_t seed) {
  if (base().normalize_observations)
    bad_input("policy", "critics learn from observations as they are: set normalize_observations: false");
  if (needs.q)
    q_needs_ = *needs.q;
  else
    q_needs_.critics = 1;
  const QNeeds& q = q_needs_;
  if (q.critics != 1 || needs.value || q.own || q.samples || q.next_value || q.behaviour || q.slow)
    bad_input("objective", "q_network says what choices are worth and is trained by dqn alone");
  trained_ = Mlp(widths(world().observation, world().action.choices), base().activation, 1, mix(seed, 1));
  slow_ = trained_.frozen_copy();
  epsilon_ = at::full({1}, options_.epsilon, at::kDouble);
}

/// What each choice [..., C] is worth; least of all those that are not allowed.
Tensor QNetwork::of_choices(const Mlp& network, const Tensor& observation) const {
  return possible(network(observation), observation);
}

/// The probability of a random choice, which falls as `decisions` more are made while it learns.
double QNetwork::exploring(int64_t decisions, bool learn) const {
  double now = epsilon_.item<double>();
  if (!learn) return now;
  double fall = (options_.epsilon - options_.last_epsilon) / static_cast<double>(options_.epsilon_decisions);
  epsilon_.fill_(std::max(std::min(now, options_.last_epsilon), now - fall * static_cast<double>(decisions)));
  return now;
}

/// `observation` [N, D] as the network sees it.
Decisions QNetwork::decide(const Tensor& observation, const std::vector<uint64_t>& keys, double epsilon) const {
  const int64_t N = observation.size(0), C = world().action.choices;
  Tensor best = of_choices(trained_, observation).argmax(1);
  Tensor allowed = possible(at::zeros({N, C}), observation).eq(0);
  Decisions out;
  out.observation = observation, out.action = best.unsqueeze(1).contiguous(), out.logp = at::empty({N});
  for (int64_t i = 0; i < N; ++i) {
    Rng rng(keys[static_cast<size_t>(i)]);
    Tensor choices = allowed[i].nonzero().squeeze(1);
    const int64_t count = choices.numel(), greedy = best[i].item<int64_t>();
    int64_t& chosen = out.action.mutable_data_ptr<int64_t>()[i];
    if (rng.uniform(0) < epsilon)
      chosen = choices[static_cast<int64_t>(rng.below(1, static_cast<uint64_t>(count)))].item<int64_t>();
    double p = epsilon / static_cast<double>(count) + (chosen == greedy ? 1 - epsilon : 0);
    out.logp.mutable_data_ptr<float>()[i] = static_cast<float>(std::log(p));
  }
  out.command = out.action.to(at::kDouble);
  return out;
}

Decisions QNetwork::act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) {
  double epsilon = greedy ? 0 : exploring(observation.size(0), learn);
  return decide(observed(observation, learn), keys, epsilon);
}

Decisions QNetwork::random(const Tensor& observation, const std::vector<uint64_t>& keys) {
  return decide(observed(observation, /*learn=*/false), keys, 1);
}

Tensor QNetwork::value(const Tensor& observation, bool is_observed) {
  return of_choices(trained_, is_observed ? observation : observed(observation, false)).amax(-1);
}

Evaluation QNetwork::evaluate(const Experience& batch, const Needs& needs) {
  if (!needs.q)
    bad_input("objective", "q_network has no log-probabilities to train: use dqn, or the policy categorical");
  const Tensor& observation = batch.context.tensor(extra::observation);
  Evaluation out;
  out.extra.set(extra::q, of_choices(trained_, observation).gather(-1, batch.action));  // [B, T, 1]
  if (!needs.q->next) return out;
  at::NoGradGuard no_grad;
  Tensor next = batch.extra.tensor(extra::next_observation), worth = of_choices(slow_, next);
  Tensor done = (needs.q->slow_policy ? worth : of_choices(trained_, next)).argmax(-1, /*keepdim=*/true);
  out.extra.set(extra::next_q, worth.gather(-1, done));
  out.extra.set(extra::next_logp, at::zeros(batch.mask.sizes()));
  return out;
}

Tensor QNetwork::ref_logp(const Experience&, const Needs&) {
  bad_input("objective", "q_network has no log-probabilities to compare: it is trained by dqn");
}

void QNetwork::stepped(int64_t step) {
  if (step % q_needs_.target_every == 0) follow(slow_, trained_, q_needs_.tau);
}

NamedTensors QNetwork::followers() const { return joined(slow_.tensors("slow_q"), {{"slow_epsilon", epsilon_}}); }

}  // namespace rft
