#include "policy/noised.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

// What a key is used for.
enum NoisedStream : uint64_t { kNoise = 0, kLevel = 1, kDropout = 2 };

/// Keys of T draws a row; the first draw's are the row's own.
std::vector<uint64_t> each_draw(const std::vector<uint64_t>& keys, int64_t T) {
  std::vector<uint64_t> out;
  for (uint64_t key : keys)
    for (int64_t k = 0; k < T; ++k) out.push_back(k == 0 ? key : mix(key, static_cast<uint64_t>(k)));
  return out;
}

Tensor uniform(const std::vector<uint64_t>& keys, uint64_t stream) {
  Tensor out = at::empty({static_cast<int64_t>(keys.size())}, at::kDouble);
  for (size_t i = 0; i < keys.size(); ++i) out.data_ptr<double>()[i] = Rng(keys[i], stream).uniform(0);
  return out;
}

}  // namespace

NoisedSamples noise_demonstrations(const Scheduler& scheduler, const Experience& batch, bool logit_normal) {
  NoisedSamples out;
  const int64_t T = out.draws = batch.mask.defined() ? batch.mask.size(1) : 1;
  auto groups = each_draw(draw_keys(batch, 0), T), rows = each_draw(draw_keys(batch, 1), T);
  out.clean = batch.action.select(1, 0).repeat_interleave(T, 0);
  out.noise = standard_normal(rows, out.clean.sizes().slice(1), kNoise).to(out.clean.dtype());
  Tensor first = uniform(draw_keys(batch, 0), kLevel).unsqueeze(1);
  out.level = logit_normal ? standard_normal(groups, {}, kLevel).sigmoid()
                           : first.add(at::arange(T)).div(static_cast<double>(T)).flatten();
  out.timestep = scheduler.training_timesteps(out.level);
  out.x = scheduler.add_noise(out.clean, out.noise, out.timestep);
  out.dropout = uniform(draw_keys(batch, 0), kDropout).repeat_interleave(T);
  return out;
}

Tensor min_snr_weight(const Scheduler& scheduler, const Tensor& timestep, double gamma) {
  at::NoGradGuard no_grad;
  Tensor one = at::ones({timestep.numel(), 1, 1, 1}, at::kDouble), zero = at::zeros_like(one);
  Tensor snr =
      scheduler.add_noise(one, zero, timestep).div(scheduler.add_noise(zero, one, timestep)).square().flatten();
  // The error of the clean sample weighs min(SNR, gamma): a predicted noise's error is SNR times smaller, a predicted
  // velocity's SNR + 1 times. Which it is shows in what the target is made of.
  bool of_noise = scheduler.target(one, zero, timestep).abs().max().item<double>() == 0;
  bool of_clean = scheduler.target(zero, one, timestep).abs().max().item<double>() == 0;
  Tensor clipped = snr.clamp_max(gamma);
  return of_noise ? clipped.div(snr) : of_clean ? clipped : clipped.div(snr.add(1));
}

}  // namespace rft
