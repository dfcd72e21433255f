#include "rft/policy/chain_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "policy/chain_steps.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

bool bounded(const ActionSpace& space, size_t k) { return std::isfinite(space.low[k]) && std::isfinite(space.high[k]); }

}  // namespace

void ChainActor::Options::visit(OptionVisitor& v) {
  NetworkActor::Options::visit(v);
  v.option("denoising_steps", denoising_steps, "steps from noise to an action", between(1, 1000).in("steps"));
  v.option("trained_steps", trained_steps,
           "of a rollout the last so many steps are decisions and learn; those before them stay as they were when the "
           "stage began (DPPO's ft_denoising_steps); 0 = all learn",
           between(0, 1000).in("steps"));
  v.option("decision", decision,
           "what the objective takes for one decision where rollouts are cut into them: the whole chain of steps "
           "(ReinFlow), or every step of it (DPPO)",
           one_of({"chain", "step"}));
  v.option("denoising_gamma", denoising_gamma,
           "with `decision: step`: the advantage of a step is multiplied by this for every step that follows it",
           between(0, 1));
  v.option("clip", clip, "the predicted action (diffusion), or a step's mean (flow), is kept within +-this; null: not",
           above(0));
  v.option("logp", logp,
           "log-probability of a decision: sum: of all its numbers and steps; mean: their mean, as both papers take "
           "it, so that clip distances do not depend on how many there are",
           one_of({"sum", "mean"}));
  v.option("critic", critic,
           "what the critic sees: the observation alone, or with `decision: step` also how far the chain has come "
           "(steps), so that every step has an advantage of its own",
           one_of({"observation", "steps"}));
  v.option(
      "logp_range", logp_range,
      "[low, high]: every number's log-density is clipped to these, old and new (DPPO: [-5, 2]); empty: not at all");
  v.option("judge", judge,
           "what a step's logp is: chain: its log-density; forward, with `decision: step`: minus the squared error of "
           "the network's answer there against what leads straight to the chain's last sample (rwr)",
           one_of({"chain", "forward"}));
  v.option("start_logp", start_logp,
           "count the first noise's log-density too; it does not depend on the weights, so that ratios stay the same");
}

ChainActor::ChainActor(const Options& options) : NetworkActor(options), options_(options) {
  const auto& range = options_.logp_range;
  if (!range.empty() && (range.size() != 2 || !(range[0] < range[1])))
    bad_input("policy", "logp_range must be [low, high] with low below high; got ", range.size(), " numbers");
  if (values_steps() && options_.decision != "step")
    bad_input("policy", "critic: steps says what each step is worth: decision must be step; got ", options_.decision);
  if (judges_forward() && options_.decision != "step")
    bad_input("policy", "judge: forward judges the steps of a chain: decision must be step; got ", options_.decision);
  if (options_.trained_steps > options_.denoising_steps)
    bad_input("policy", "of ", options_.denoising_steps, " denoising_steps at most these can be trained_steps; got ",
              options_.trained_steps);
  if (options_.trained_steps > 0 && options_.start_logp)
    bad_input("policy", "start_logp is the first noise's, and with trained_steps a chain begins later");
}

ChainActor::Networks ChainActor::copy_of(const Networks& networks) {
  return {networks.step.frozen_copy(), networks.noise.frozen_copy()};
}

void ChainActor::check(const EnvironmentSpec& world) const {
  if (world.action.discrete())
    bad_input("policy", kind(), " gives numbers, and the actions of '", world.name, "' are one of ",
              world.action.choices, " choices: use categorical");
}

void ChainActor::build(const Needs& needs, uint64_t seed) {
  int64_t D = world().observation;
  networks_.step =
      Mlp(widths(size() + step_features() + D, size()), options_.activation, /*last_gain=*/1, mix(seed, 1));
  if (noise_features() > 0) {
    std::vector<int64_t> layers{noise_features() + D};
    for (int64_t width : noise_widths()) layers.push_back(width);
    layers.push_back(size());
    networks_.noise = Mlp(layers, "tanh", /*last_gain=*/0.01, mix(seed, 3));
  }
  int64_t seen = values_steps() ? size() + kTimeFeatures + D : D;
  if (needs.value) critic_ = Mlp(widths(seen, 1), options_.activation, 1, mix(seed, 2));
  const bool part = options_.trained_steps > 0 && options_.trained_steps < options_.denoising_steps;
  frozen_ = part && needs.data == Needs::Data::rollout ? copy_of(networks_) : Networks();
}

void ChainActor::keep_reference() { reference_ = copy_of(networks_); }

NamedTensors ChainActor::followers() const {
  return joined(frozen_.step.tensors("frozen_step"), frozen_.noise.tensors("frozen_noise"));
}

void ChainActor::begin(const std::string& kind) {
  if (kind == "frozen_step.") frozen_ = copy_of(networks_);
}

NamedTensors ChainActor::tensors() const {
  return joined(joined(networks_.step.tensors("step"), networks_.noise.tensors("noise")), critic_.tensors("critic"));
}

NamedTensors ChainActor::reference_tensors() const {
  return joined(reference_.step.tensors("step"), reference_.noise.tensors("noise"));
}

Tensor ChainActor::command(const Tensor& x) const {
  const ActionSpace& space = world().action;
  int64_t rows = x.size(0), K = size();
  Tensor out = at::empty({rows, K}, at::kDouble);
  Tensor from = x.contiguous();
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = 0; k < K; ++k) {
      auto at = static_cast<size_t>(k);
      double a = from.const_data_ptr<float>()[i * K + k], low = space.low[at], high = space.high[at];
      double told = bounded(space, at) ? low + (a + 1) * 0.5 * (high - low) : a;
      out.data_ptr<double>()[i * K + k] = std::clamp(told, low, high);
    }
  return out;
}

/// The environment's actions [..., K] as the networks make them.
Tensor ChainActor::scaled(const Tensor& action) const {
  const ActionSpace& space = world().action;
  std::vector<float> middle, half;
  for (size_t k = 0; k < space.low.size(); ++k) {
    bool range = bounded(space, k);
    middle.push_back(range ? static_cast<float>(0.5 * (space.low[k] + space.high[k])) : 0.0f);
    half.push_back(range ? static_cast<float>(0.5 * (space.high[k] - space.low[k])) : 1.0f);
  }
  return action.sub(at::tensor(middle)).div(at::tensor(half));
}

/// [M]: log-density of `next` [M, K], as the options say.
Tensor ChainActor::step_logp(const StepNormal& normal, const Tensor& next) const {
  Tensor z = next.sub(normal.mean).mul(normal.log_std.neg().exp());
  Tensor each = z.square().mul(0.5).add(normal.log_std).add(half_log_two_pi).neg();
  const auto& range = options_.logp_range;
  if (!range.empty()) each = each.clamp(range[0], range[1]);
  return options_.logp == "mean" ? each.mean(1) : each.sum(1);
}

/// [M]: the log-density of the first noise [M, K], or an undefined tensor where it does not count.
Tensor ChainActor::start_term(const Tensor& start) const {
  if (!options_.start_logp) return {};
  return step_logp({at::zeros_like(start), at::zeros_like(start)}, start);
}

/// [M]: the chain's, from its steps' [M, S] and its start's.
Tensor ChainActor::over_steps(const Tensor& steps, const Tensor& start) const {
  Tensor all = start.defined() ? at::cat({start.unsqueeze(1), steps}, 1) : steps;
  return options_.logp == "mean" ? all.mean(1) : all.sum(1);
}

Decisions ChainActor::act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) {
  Decisions out;
  out.observation = observed(observation, learn);
  int64_t rows = observation.size(0);
  Tensor x = standard_normal(keys, {size()});
  std::vector<Tensor> chain, logp;
  for (int64_t k = 0; k < steps(); ++k) {
    const bool learns = k >= first_step();
    if (k == first_step()) chain.push_back(x);
    StepNormal normal = step(learns ? networks_ : frozen_, x, out.observation, at::full({rows}, k, at::kLong));
    Tensor noise = standard_normal(keys, {size()}, static_cast<uint64_t>(k + 1));
    x = greedy ? normal.mean.add(noise, greedy_std(k)) : normal.mean.add(noise.mul(normal.log_std.exp()));
    if (learns) chain.push_back(x), logp.push_back(step_logp(normal, x));
  }
  out.action = at::stack(chain, 1), out.command = command(x);
  out.step_logp = at::stack(logp, 1);
  out.logp = over_steps(out.step_logp, start_term(chain[0]));
  return out;
}

Tensor ChainActor::value(const Tensor& observation, bool is_observed) {
  if (critic_.empty()) run_failed("policy", "there is no critic: the recipe asked for none");
  Tensor seen = is_observed ? observation : observed(observation, false);
  if (!values_steps()) return critic_(seen).squeeze(-1);
  Tensor rows = seen.reshape({-1, seen.size(-1)});  // of chains that have not begun
  auto shape = seen.sizes().vec();
  shape.pop_back();
  return step_value(at::zeros({rows.size(0), 1, size()}), rows).view(shape);
}

}  // namespace rft
