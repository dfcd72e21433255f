#pragma once
/// The noise levels that a discrete-time diffusion model was trained with: T steps of betas, as diffusers makes them.
/// Numbers are kept in float32, as there: the small differences that steps are made of depend on its rounding.
#include <string>
#include <vector>

#include "core/model_config.h"
#include "rft/core/tensor.h"

namespace rft {

/// What the denoiser answers with: the noise, the clean sample, or v = sqrt(a) noise - sqrt(1 - a) clean (Salimans and
/// Ho 2022, arXiv:2202.00512).
enum class Prediction { epsilon, sample, velocity };

/// What a field is where scheduler_config.json lacks it; it differs between schedulers.
struct NoiseDefaults {
  double beta_start = 1e-4, beta_end = 0.02;
  const char* beta_schedule = "linear";
};

struct NoiseSchedule {
  std::vector<float> kept;  ///< [T] alphas_cumprod: the signal's share of the variance at timestep t
  Prediction prediction = Prediction::epsilon;
  std::string beta_schedule;
  bool zero_snr = false;  ///< the last level is pure noise

  int64_t size() const { return static_cast<int64_t>(kept.size()); }
  float at(int64_t t) const { return kept[static_cast<size_t>(t)]; }
  /// [T] sqrt((1 - a) / a): noise over signal.
  std::vector<float> sigmas() const;
};

/// Reads num_train_timesteps, beta_*, trained_betas, rescale_betas_zero_snr and prediction_type.
NoiseSchedule read_noise_schedule(ModelConfig& config, const NoiseDefaults& missing);

/// For schedulers that divide by the signal: with zero terminal SNR the last level keeps 2^-24 of it, as in diffusers.
NoiseSchedule with_finite_sigmas(NoiseSchedule schedule);

/// The clean sample that `output` means for x = sqrt(a) clean + sqrt(1 - a) noise.
Tensor clean_from(Prediction prediction, const Tensor& output, const Tensor& x, float a);
/// The noise that `output` means.
Tensor noise_from(Prediction prediction, const Tensor& output, const Tensor& x, float a);

}  // namespace rft
