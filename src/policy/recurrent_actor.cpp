#include "rft/policy/recurrent_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "policy/action_distribution.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"

namespace rft {
void RecurrentActor::Options::visit(OptionVisitor& v) {
  NetworkActor::Options::visit(v);
  v.option("cell", cell, "the recurrent layer that observations go into first", one_of({"lstm", "gru"}));
  v.option("memory_size", memory_size, "numbers that it gives", at_least(1));
  v.option("log_std", log_std, "logarithm of the first standard deviation of every action that is a number");
  v.option("squash", squash, "send such actions through tanh to the environment's bounds, instead of clipping them");
}

RecurrentActor::RecurrentActor(Options options) : NetworkActor(options), options_(std::move(options)) {}
RecurrentActor::~RecurrentActor() = default;

NamedTensors RecurrentActor::Branch::tensors(const std::string& name) const {
  return joined(cell.tensors(name + ".cell"), head.tensors(name));
}

RecurrentActor::Branch RecurrentActor::branch(int64_t out, double last_gain, uint64_t seed) const {
  return {Recurrent(options_.cell, world().observation, options_.memory_size, mix(seed, 1)),
          Mlp(widths(options_.memory_size, out), options_.activation, last_gain, mix(seed, 2))};
}

void RecurrentActor::build(const Needs& needs, uint64_t seed) {
  distribution_ =
      world().action.discrete() ? categorical_distribution() : gaussian_distribution(options_.log_std, options_.squash);
  distribution_->enter(world().action);
  actor_ = branch(distribution_->outputs(), 0.01, mix(seed, 1));
  if (needs.value) critic_ = branch(1, 1, mix(seed, 2));
}

void RecurrentActor::keep_reference() {
  reference_ = actor_.frozen_copy();
  reference_distribution_ = distribution_->frozen_copy();
}

NamedTensors RecurrentActor::tensors() const {
  return joined(joined(actor_.tensors("actor"), distribution_->tensors()), critic_.tensors("critic"));
}

NamedTensors RecurrentActor::reference_tensors() const {
  if (!reference_distribution_) return {};
  return joined(reference_.tensors("actor"), reference_distribution_->tensors());
}

std::vector<std::pair<std::string, int64_t>> RecurrentActor::settings() const {
  return {{"lstm", options_.cell == "lstm"}};
}

int64_t RecurrentActor::memory() const {
  return actor_memory() + (critic_.cell.empty() ? 0 : critic_.cell.state_size());
}

Tensor RecurrentActor::recorded(const Tensor& action) const { return distribution_->recorded(action.to(at::kDouble)); }

Decisions RecurrentActor::act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) {
  return act_from(at::zeros({observation.size(0), memory()}), observation, keys, greedy, learn);
}

Decisions RecurrentActor::act_from(const Tensor& memory, const Tensor& observation, const std::vector<uint64_t>& keys,
                                   bool greedy, bool learn) {
  Decisions out;
  out.observation = observed(observation, learn);
  out.memory = actor_.cell.step(out.observation, memory.narrow(1, 0, actor_memory()));
  Tensor output = possible(actor_.head(actor_.cell.output(out.memory).contiguous()), out.observation);
  std::tie(out.action, out.logp) = distribution_->draw(output, keys, greedy);
  out.command = distribution_->command(out.action);
  if (critic_.cell.empty()) return out;
  Tensor expecting = critic_.cell.step(out.observation, memory.narrow(1, actor_memory(), critic_.cell.state_size()));
  out.value = critic_.head(critic_.cell.output(expecting).contiguous()).squeeze(-1);
  out.memory = at::cat({out.memory, expecting}, 1);
  return out;
}

Tensor RecurrentActor::value(const Tensor& observation, bool is_observed) {
  Tensor seen = is_observed ? observation : observed(observation, false);
  if (critic_.cell.empty()) run_failed("policy", "there is no critic: the recipe asked for none");
  Tensor state = critic_.cell.step(seen, at::zeros({seen.size(0), critic_.cell.state_size()}));
  return critic_.head(critic_.cell.output(state).contiguous()).squeeze(-1);
}

Tensor RecurrentActor::value_from(const Tensor& memory, const Tensor& observation) {
  if (critic_.cell.empty()) run_failed("policy", "there is no critic: the recipe asked for none");
  Tensor state =
      critic_.cell.step(observed(observation, false), memory.narrow(1, actor_memory(), critic_.cell.state_size()));
  return critic_.head(critic_.cell.output(state).contiguous()).squeeze(-1);
}

/// [B, T, out]: what `branch` says along the rows; its memory stands from `memory_from` on.
Tensor RecurrentActor::along(const Branch& branch, const Experience& batch, int64_t memory_from) const {
  const Tensor& seen = batch.context.tensor(extra::observation);
  int64_t B = seen.size(0), T = seen.size(1);
  Tensor memory = batch.context.find(extra::memory), last = batch.extra.find(extra::last);
  Tensor state = memory.defined() ? memory.narrow(1, memory_from, branch.cell.state_size())
                                  : at::zeros({B, branch.cell.state_size()}, seen.options());
  Tensor keep = at::ones({B, T}, seen.options());
  if (last.defined() && T > 1) keep.narrow(1, 1, T - 1).copy_(last.narrow(1, 0, T - 1).logical_not());
  return branch.head(branch.cell.run(seen, state, keep));
}

Evaluation RecurrentActor::evaluate(const Experience& batch, const Needs& needs) {
  Tensor output = possible(along(actor_, batch, 0), batch.context.tensor(extra::observation));
  Evaluation out;
  out.logp = distribution_->logp(output, batch.action);
  if (needs.entropy) out.entropy = distribution_->entropy(output, out.logp);
  if (!needs.value) return out;
  if (critic_.cell.empty()) run_failed("policy", "there is no critic: the recipe asked for none");
  out.value = along(critic_, batch, actor_memory()).squeeze(-1);
  return out;
}

Tensor RecurrentActor::ref_logp(const Experience& batch, const Needs&) {
  at::NoGradGuard no_grad;
  if (!reference_distribution_) run_failed("policy", "there is no reference policy: the recipe asked for none");
  Tensor output = possible(along(reference_, batch, 0), batch.context.tensor(extra::observation));
  return reference_distribution_->logp(output, batch.action);
}

}  // namespace rft
