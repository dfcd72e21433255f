#pragma once
/// Better samples without training: a reward steers the sampling run.
#include <string>
#include <vector>

#include "rft/policy/diffusion.h"

namespace rft {

struct SteerOptions {
  std::string method = "best_of_n";
  int64_t particles = 4;
  double temperature = 0.1;
  int64_t every = 1;
  int64_t iterations = 20;
  double lr = 1.0;
  double noise_weight = 0.01;
  double base_weight = 2.0;
  std::string base;
};

/// The methods' names: "best_of_n", "reno", "fk", "svdd", "rlg".
std::vector<std::string> steering_methods();

/// Latents [N, C, h, w] for N rows.
/// - best_of_n: `particles` runs a row, the one of the highest reward is kept.
/// - reno: gradient ascent on the first noise through the whole run; the best iterate is kept (Eyring et al. 2024,
///   arXiv:2406.04312; the noise is held near its shell by its log-likelihood of norm). Needs a differentiable reward.
/// - fk: `particles` runs side by side, resampled every `every` steps by exp(gain of the denoised estimate's reward /
///   temperature), the best kept (Singhal et al. 2025, arXiv:2501.06848). Needs random steps.
/// - svdd: at every step the best of `particles` next samples by softmax(reward of the denoised estimate / temperature)
///   (Li et al. 2024, arXiv:2408.08252). Needs random steps.
/// - rlg: base + base_weight * (tuned - base) in every step, `base` the directory before training (Jin et al. 2025,
///   arXiv:2508.21016); needs no reward.
Tensor steer(Diffusion& policy, const Fields& context, const Tensor& noise, uint64_t seed, double eta,
             const SteerOptions& options, const RewardOfSample& reward);

}  // namespace rft
