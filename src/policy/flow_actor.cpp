// ReinFlow: steps of a velocity field with a noise that is learned.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <bit>
#include <cmath>

#include "policy/chain_steps.h"
#include "rft/core/error.h"
#include "rft/core/noise.h"
#include "rft/policy/chain_actor.h"

namespace rft {

void FlowActor::Options::visit(OptionVisitor& v) {
  ChainActor::Options::visit(v);
  v.option("min_std", min_std, "least standard deviation of a step's noise, of actions between -1 and 1", above(0));
  v.option("max_std", max_std, "largest standard deviation of a step's noise", above(0));
  v.option("noise_hidden", noise_hidden, "widths of the hidden layers of the network that gives the deviation",
           at_least(1));
  v.option(
      "shortcut", shortcut,
      "tell the velocity how long a step is, and learn from demonstrations that one step goes where two half ones do");
  v.option("consistency", consistency,
           "shortcut: the share of demonstrations that learn that; the others learn to flow", between(0, 1));
  v.option("consistency_levels", consistency_levels,
           "shortcut: steps of 1, 1/2, .., 2^-(levels - 1) are learned so; halves of the last are taken from the flow",
           between(1, 10));
}

FlowActor::FlowActor(Options options) : ChainActor(options), flow_(std::move(options)) {
  if (flow_.min_std > flow_.max_std)
    bad_input("policy", "min_std must not be above max_std, ", flow_.max_std, "; got ", flow_.min_std);
  if (!flow_.shortcut) return;
  auto count = static_cast<uint64_t>(flow_.denoising_steps);
  if (!std::has_single_bit(count) || count > uint64_t{1} << (flow_.consistency_levels - 1))
    bad_input("policy", "a shortcut's denoising_steps must be 1, 2, 4, .. up to 2^(consistency_levels - 1), ",
              int64_t{1} << (flow_.consistency_levels - 1), "; got ", flow_.denoising_steps);
}

int64_t FlowActor::step_features() const { return flow_.shortcut ? 2 * kTimeFeatures : kTimeFeatures; }
int64_t FlowActor::noise_features() const { return kTimeFeatures; }
std::vector<int64_t> FlowActor::noise_widths() const { return {flow_.noise_hidden.begin(), flow_.noise_hidden.end()}; }
std::vector<std::pair<std::string, int64_t>> FlowActor::settings() const { return {{"shortcut", flow_.shortcut}}; }

/// At time t [M] of a step that is `length` [M] long; 0: the flow's own velocity.
Tensor FlowActor::velocity(const Networks& networks, const Tensor& x, const Tensor& t, const Tensor& length,
                           const Tensor& observation) const {
  std::vector<Tensor> seen{x, time_features(t)};
  if (flow_.shortcut) seen.push_back(time_features(length));
  seen.push_back(observation);
  return networks.step(at::cat(seen, 1));
}

ChainActor::StepNormal FlowActor::step(const Networks& networks, const Tensor& x, const Tensor& observation,
                                       const Tensor& k) const {
  const double length = 1.0 / static_cast<double>(steps());
  Tensor t = k.to(at::kFloat).mul(length);
  StepNormal out;
  out.mean = x.add(velocity(networks, x, t, at::full_like(t, length), observation), length);
  if (options().clip) out.mean = out.mean.clamp(-*options().clip, *options().clip);
  // Between the bounds on a logarithmic scale, as the paper's.
  double low = std::log(flow_.min_std), half = 0.5 * (std::log(flow_.max_std) - low);
  out.log_std = networks.noise(at::cat({time_features(t), observation}, 1)).tanh().add(1).mul(half).add(low);
  return out;
}

ChainActor::Answer FlowActor::answer(const Networks& networks, const Tensor& x, const Tensor& clean,
                                     const Tensor& observation, const Tensor& k) const {
  const double length = 1.0 / static_cast<double>(steps());
  Tensor t = k.to(at::kFloat).mul(length);
  return {velocity(networks, x, t, at::full_like(t, length), observation),
          clean.sub(x).div(t.neg().add(1).unsqueeze(1))};
}

Tensor FlowActor::error(const Networks& networks, const Tensor& clean, const Tensor& observation,
                        const std::vector<uint64_t>& keys) const {
  Tensor noise = standard_normal(keys, {size()}), t = uniform(keys, kLevelStream), length = at::zeros_like(t);
  Tensor target = clean.sub(noise);
  auto between = [&](const Tensor& at_t) { return noise.add(clean.sub(noise).mul(at_t.unsqueeze(1))); };
  Tensor x = between(t);
  Tensor picked = flow_.shortcut ? uniform(keys, kPickStream).lt(flow_.consistency).nonzero().squeeze(1) : Tensor();
  if (picked.defined() && picked.numel() > 0) {
    at::NoGradGuard no_grad;
    Tensor level = uniform(keys, kLengthStream).mul(static_cast<double>(flow_.consistency_levels)).floor();
    Tensor full = at::exp2(level.neg());
    Tensor starts = t.div(full).floor().mul(full);  // a multiple of its length
    t = t.index_copy(0, picked, starts.index_select(0, picked));
    length = length.index_copy(0, picked, full.index_select(0, picked));
    x = between(t);
    auto row = [&](const Tensor& all) { return all.index_select(0, picked); };
    Tensor half = row(full).mul(0.5);
    Tensor told =
        at::where(row(level).eq(static_cast<double>(flow_.consistency_levels - 1)), at::zeros_like(half), half);
    Tensor first = velocity(networks, row(x), row(t), told, row(observation));
    Tensor middle = row(x).add(first.mul(half.unsqueeze(1)));
    Tensor second = velocity(networks, middle, row(t).add(half), told, row(observation));
    target = target.index_copy(0, picked, first.add(second).mul(0.5));
  }
  return velocity(networks, x, t, length, observation).sub(target).square().mean(1);
}

}  // namespace rft
