#pragma once
/// Demonstrations at random noise levels: what a denoiser is trained on.
#include "policy/denoise.h"
#include "rft/core/experience.h"

namespace rft {

/// N = B * T: a clean sample noised T times, T columns of its mask, one after another.
struct NoisedSamples {
  Tensor clean, noise;  ///< [N, C, h, w]
  Tensor x;             ///< [N, C, h, w] clean with noise
  Tensor level;         ///< [N] in [0, 1): the share of noise levels below this row's
  Tensor timestep;      ///< [N]
  Tensor dropout;       ///< [N] uniform numbers, the same for all T
  int64_t draws = 1;    ///< T
};

/// batch.action[:, 0] with noise drawn from extra::draw; without it row i draws as row i. Of T levels drawn uniformly
/// each lies in a T-th of its own.
NoisedSamples noise_demonstrations(const Scheduler& scheduler, const Experience& batch, bool logit_normal);

/// [B]: min(SNR, gamma) / SNR for predicted noise (Hang et al. 2023, arXiv:2303.09556).
Tensor min_snr_weight(const Scheduler& scheduler, const Tensor& timestep, double gamma);

}  // namespace rft
