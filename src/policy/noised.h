#pragma once
/// Demonstrations at random noise levels: what a denoiser is trained on.
#include "policy/denoise.h"
#include "rft/core/experience.h"

namespace rft {

struct NoisedSamples {
  Tensor clean, noise;  ///< [B, C, h, w]
  Tensor x;             ///< [B, C, h, w] clean with noise
  Tensor level;         ///< [B] in [0, 1): the share of noise levels below this row's
  Tensor timestep;      ///< [B]
  Tensor dropout;       ///< [B] uniform numbers
};

/// batch.action[:, 0] with noise drawn from extra::draw; without it row i draws as row i.
NoisedSamples noise_demonstrations(const Scheduler& scheduler, const Experience& batch, bool logit_normal);

/// [B]: min(SNR, gamma) / SNR for predicted noise (Hang et al. 2023, arXiv:2303.09556).
Tensor min_snr_weight(const Scheduler& scheduler, const Tensor& timestep, double gamma);

}  // namespace rft
