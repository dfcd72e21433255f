#include "rft/policy/mlp_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "policy/action_distribution.h"
#include "policy/q_critics.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"

namespace rft {

MlpActor::MlpActor(const Options& options, std::unique_ptr<ActionDistribution> distribution)
    : NetworkActor(options), distribution_(std::move(distribution)) {}

MlpActor::~MlpActor() = default;

Mlp MlpActor::network(int64_t in, int64_t out, double last_gain, uint64_t seed) const {
  return Mlp(widths(in, out), base().activation, last_gain, seed);
}

void MlpActor::build(const Needs& needs, uint64_t seed) {
  int64_t D = world().observation;
  distribution_->enter(world().action);
  // A last layer near 0: the first policy does not prefer any action (Andrychowicz et al. 2021, arXiv:2006.05990).
  actor_ = network(D, distribution_->outputs(), 0.01, mix(seed, 1));
  if (needs.value) critic_ = network(D, 1, 1, mix(seed, 2));
  q_needs_ = needs.q;
  if (!q_needs_) return;
  if (base().normalize_observations)
    bad_input("policy", "critics learn from observations as they are: set normalize_observations: false");
  q_ = std::make_unique<QCritics>(needs.q->critics, widths(D + world().action.size(), 1), base().activation,
                                  mix(seed, 3));
  if (needs.q->slow_policy) slow_actor_ = actor_.frozen_copy();
}

void MlpActor::keep_reference() {
  reference_ = actor_.frozen_copy();
  reference_distribution_ = distribution_->frozen_copy();
}

/// What the distribution is made from; choices that are not allowed can't be made.
Tensor MlpActor::output_of(const Mlp& network, const Tensor& observation) const {
  return possible(network(observation), observation);
}

Decisions MlpActor::act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) {
  Decisions out;
  out.observation = observed(observation, learn);
  std::tie(out.action, out.logp) = distribution_->draw(output_of(actor_, out.observation), keys, greedy);
  out.command = distribution_->command(out.action);
  return out;
}

Decisions MlpActor::random(const Tensor& observation, const std::vector<uint64_t>& keys) {
  Decisions out;
  out.observation = observed(observation, /*learn=*/false);
  out.command = distribution_->uniform(keys);
  out.action = distribution_->recorded(out.command);
  out.logp = distribution_->logp(output_of(actor_, out.observation), out.action);
  return out;
}

Tensor MlpActor::value(const Tensor& observation, bool is_observed) {
  if (critic_.empty()) run_failed("policy", "there is no critic: the recipe asked for none");
  return critic_(is_observed ? observation : observed(observation, false)).squeeze(-1);
}

Evaluation MlpActor::evaluate(const Experience& batch, const Needs& needs) {
  Evaluation out;
  if (needs.q) {
    estimate(batch, needs, out);
    return out;
  }
  const Tensor& observation = batch.context.tensor(extra::observation);
  Tensor output = output_of(actor_, observation);
  out.logp = distribution_->logp(output, batch.action);
  if (needs.entropy) out.entropy = distribution_->entropy(output, out.logp);
  if (needs.value) out.value = value(observation, true);
  return out;
}

Tensor MlpActor::ref_logp(const Experience& batch, const Needs&) {
  at::NoGradGuard no_grad;
  if (!reference_distribution_) run_failed("policy", "there is no reference policy: the recipe asked for none");
  Tensor output = output_of(reference_, batch.context.tensor(extra::observation));
  return reference_distribution_->logp(output, batch.action);
}

void MlpActor::stepped(int64_t step) {
  if (!q_ || step % q_needs_->target_every != 0) return;
  q_->follow(q_needs_->tau);
  if (!slow_actor_.empty()) follow(slow_actor_, actor_, q_needs_->tau);
}

NamedTensors MlpActor::tensors() const {
  NamedTensors out = joined(joined(actor_.tensors("actor"), distribution_->tensors()), critic_.tensors("critic"));
  return q_ ? joined(out, q_->tensors()) : out;
}

NamedTensors MlpActor::reference_tensors() const {
  if (!reference_distribution_) return {};
  return joined(reference_.tensors("actor"), reference_distribution_->tensors());
}

NamedTensors MlpActor::followers() const {
  NamedTensors out = slow_actor_.tensors("slow_actor");
  return q_ ? joined(out, q_->slow_tensors()) : out;
}

Tensor MlpActor::recorded(const Tensor& action) const { return distribution_->recorded(action.to(at::kDouble)); }
std::string MlpActor::kind() const { return distribution_->name(); }

void GaussianActor::Options::visit(OptionVisitor& v) {
  NetworkActor::Options::visit(v);
  v.option("log_std", log_std, "logarithm of the first standard deviation of every action");
  v.option("squash", squash, "send actions through tanh to the environment's bounds, instead of clipping them");
  v.option("state_std", state_std, "the network gives the deviations too, times exp(log_std)");
}

GaussianActor::GaussianActor(Options options)
    : MlpActor(options, gaussian_distribution(options.log_std, options.squash, options.state_std)) {}

void GaussianActor::check(const EnvironmentSpec& world) const {
  if (world.action.discrete())
    bad_input("policy", "gaussian gives numbers, and the actions of '", world.name, "' are one of ",
              world.action.choices, " choices: use categorical");
}

void DeterministicActor::Options::visit(OptionVisitor& v) {
  NetworkActor::Options::visit(v);
  v.option("noise", noise, "deviation of the exploration noise, of half the action's range", above(0));
}

DeterministicActor::DeterministicActor(Options options)
    : MlpActor(options, deterministic_distribution(options.noise)) {}

void DeterministicActor::check(const EnvironmentSpec& world) const {
  if (world.action.discrete())
    bad_input("policy", "deterministic gives numbers, and the actions of '", world.name, "' are one of ",
              world.action.choices, " choices: use categorical");
}

CategoricalActor::CategoricalActor(Options options) : MlpActor(options, categorical_distribution()) {}

void CategoricalActor::check(const EnvironmentSpec& world) const {
  if (!world.action.discrete())
    bad_input("policy", "categorical gives one of several choices, and the actions of '", world.name, "' are ",
              world.action.size(), " numbers: use gaussian");
}

}  // namespace rft
