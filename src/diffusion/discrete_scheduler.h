#pragma once
/// What all schedulers of discrete-time models share: the forward process at a training timestep.
#include "diffusion/noise_schedule.h"
#include "diffusion/spacing.h"
#include "rft/diffusion/scheduler.h"

namespace rft {

/// The forward process in the denoiser's units, x = sqrt(a) clean + sqrt(1 - a) noise, also where steps are taken in
/// other units. Timesteps between whole ones (Euler's) interpolate sqrt((1 - a) / a).
class DiscreteScheduler : public Scheduler {
 public:
  Tensor add_noise(const Tensor& clean, const Tensor& noise, const Tensor& timestep) const override;
  Tensor target(const Tensor& clean, const Tensor& noise, const Tensor& timestep) const override;
  Tensor denoised(const Tensor& x, const Tensor& output, const Tensor& timestep) const override;
  Tensor training_timesteps(const Tensor& u) const override;
  const std::string& config_json() const override { return json_; }

 protected:
  DiscreteScheduler(std::string json, std::string where, NoiseSchedule noise);

  int64_t T() const { return noise_.size(); }
  const NoiseSchedule& noise() const { return noise_; }
  const std::string& where() const { return where_; }
  /// Throws UserError where `steps` is not in 1..T.
  void check_steps(int64_t steps) const;
  /// Throws UserError where a timestep is not one the model was trained at (a steps_offset can do that), or is pure
  /// noise to a model that predicts noise.
  void check_timesteps(const std::vector<double>& timesteps) const;
  /// Throws UserError for a stochastic step that belongs to flow models.
  void check_no_sde(const StepOptions& options) const;

 private:
  std::string json_, where_;
  NoiseSchedule noise_;
};

/// The largest magnitude of clean samples, as clip_sample and clip_sample_range set it; infinity where unclipped.
double read_clip(ModelConfig& config, bool missing);
/// Reads thresholding and its companions; true is refused.
void refuse_thresholding(ModelConfig& config);

/// The first x.size(1) channels of the denoiser's output, in x's dtype: what follows is a learned variance.
Tensor mean_channels(const Tensor& output, const Tensor& x);

}  // namespace rft
