// DPPO: steps of a DDPM whose network predicts the noise.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "policy/chain_steps.h"
#include "rft/core/noise.h"
#include "rft/policy/chain_actor.h"

namespace rft {
namespace {

/// Least deviation of a greedy step, as the paper evaluates.
constexpr double kGreedyStd = 1e-3;

/// Share of an action's square that is left after i of n noisings (Nichol & Dhariwal 2021, arXiv:2102.09672).
double cosine(double i, double n) {
  double angle = (i / n + 0.008) / 1.008 * 0.5 * std::numbers::pi;
  return std::cos(angle) * std::cos(angle);
}

Tensor column(const Tensor& table, const Tensor& k) { return table.index_select(0, k).unsqueeze(1); }

}  // namespace

void DiffusionActor::Options::visit(OptionVisitor& v) {
  ChainActor::Options::visit(v);
  v.option("min_std", min_std, "least standard deviation of a step, of actions between -1 and 1", above(0));
}

DiffusionActor::DiffusionActor(Options options)
    : ChainActor(options), schedule_(schedule(options.denoising_steps, options.min_std)) {}

DiffusionActor::Schedule DiffusionActor::schedule(int64_t steps, double min_std) {
  std::vector<double> left{1};
  std::vector<double> betas;
  double n = static_cast<double>(steps);
  for (int64_t i = 1; i <= steps; ++i) {
    double at = static_cast<double>(i);
    betas.push_back(std::clamp(1 - cosine(at, n) / cosine(at - 1, n), 0.0, 0.999));
    left.push_back(left.back() * (1 - betas.back()));
  }
  std::vector<float> clean, noise, of_clean, of_sample, log_std, signal, spread;
  Schedule out;
  for (int64_t k = 0; k < steps; ++k) {
    auto i = static_cast<size_t>(steps - 1 - k);  // the noisiest first
    double beta = betas[i], now = left[i + 1], before = left[i];
    clean.push_back(static_cast<float>(1 / std::sqrt(now)));
    noise.push_back(static_cast<float>(std::sqrt(1 / now - 1)));
    of_clean.push_back(static_cast<float>(beta * std::sqrt(before) / (1 - now)));
    of_sample.push_back(static_cast<float>((1 - before) * std::sqrt(1 - beta) / (1 - now)));
    signal.push_back(static_cast<float>(std::sqrt(now))), spread.push_back(static_cast<float>(std::sqrt(1 - now)));
    out.own_std.push_back(std::sqrt(beta * (1 - before) / (1 - now)));
    log_std.push_back(static_cast<float>(std::log(std::max(out.own_std.back(), min_std))));
  }
  out.clean = at::tensor(clean), out.noise = at::tensor(noise), out.of_clean = at::tensor(of_clean);
  out.of_sample = at::tensor(of_sample), out.log_std = at::tensor(log_std);
  out.signal = at::tensor(signal), out.spread = at::tensor(spread);
  return out;
}

int64_t DiffusionActor::step_features() const { return kTimeFeatures; }
std::vector<std::pair<std::string, int64_t>> DiffusionActor::settings() const { return {{"denoising_steps", steps()}}; }

Tensor DiffusionActor::predicted_noise(const Networks& networks, const Tensor& x, const Tensor& observation,
                                       const Tensor& k) const {
  Tensor t = k.to(at::kFloat).div(static_cast<double>(steps()));
  return networks.step(at::cat({x, time_features(t), observation}, 1));
}

ChainActor::StepNormal DiffusionActor::step(const Networks& networks, const Tensor& x, const Tensor& observation,
                                            const Tensor& k) const {
  Tensor noise = predicted_noise(networks, x, observation, k);
  Tensor clean = x.mul(column(schedule_.clean, k)).sub(noise.mul(column(schedule_.noise, k)));
  if (options().clip) clean = clean.clamp(-*options().clip, *options().clip);
  StepNormal out;
  out.mean = clean.mul(column(schedule_.of_clean, k)).add(x.mul(column(schedule_.of_sample, k)));
  out.log_std = column(schedule_.log_std, k);
  return out;
}

ChainActor::Answer DiffusionActor::answer(const Networks& networks, const Tensor& x, const Tensor& clean,
                                          const Tensor& observation, const Tensor& k) const {
  return {predicted_noise(networks, x, observation, k),
          x.sub(clean.mul(column(schedule_.signal, k))).div(column(schedule_.spread, k))};
}

double DiffusionActor::greedy_std(int64_t k) const {
  return k + 1 == steps() ? 0 : std::max(schedule_.own_std[static_cast<size_t>(k)], kGreedyStd);
}

Tensor DiffusionActor::error(const Networks& networks, const Tensor& clean, const Tensor& observation,
                             const std::vector<uint64_t>& keys) const {
  Tensor noise = standard_normal(keys, {size()});
  Tensor k = uniform(keys, kLevelStream).mul(static_cast<double>(steps())).to(at::kLong).clamp_max(steps() - 1);
  Tensor x = clean.mul(column(schedule_.signal, k)).add(noise.mul(column(schedule_.spread, k)));
  return predicted_noise(networks, x, observation, k).sub(noise).square().mean(1);
}

}  // namespace rft
