#pragma once
/// One step of a sampling run, shared by the sampler and by everything that judges it.
#include <optional>

#include "policy/conditioner.h"
#include "policy/draws.h"
#include "rft/policy/diffusion.h"

namespace rft {

/// The parts that answer; the reference policy puts its own in.
struct DenoisingModel {
  const Denoiser& denoiser;
  const ControlNet* controlnet = nullptr;
  double control_scale = 1;
  Diffusion::Mixture mixture;
};

/// A sampling run of some rows: its noise levels and what the model is told.
struct DenoisingRun {
  const Scheduler& scheduler;
  Scheduler::Plan plan;
  StepOptions options;
  double guidance = 1;
  Conditioning told;
  std::optional<Conditioning> nothing;  ///< where guided: the other half
  std::vector<bool> random = {};        ///< by step: whether it may be random; empty: all may

  /// The same run of the rows `index` alone.
  DenoisingRun rows(const Tensor& index) const;
  /// How random step i is.
  StepOptions options_at(int64_t i) const;
};

/// The model's answer [N, C, h, w] at timestep [N]; of a model that also predicts variances only the first half, as
/// diffusers' pipelines use it, unless `variances`: then [N, 2 C, h, w].
Tensor predict(const DenoisingModel& model, const Tensor& x, const Tensor& timestep, const Conditioning& told,
               bool variances = false);
/// The same with classifier-free guidance: none + guidance * (told - none), in one forward pass; with the variances
/// that the model predicts of what it is told, where the scheduler takes them.
Tensor predict_guided(const DenoisingModel& model, const DenoisingRun& run, const Tensor& x, double timestep);
/// What a run starts from, in the scheduler's units: noise, or with `start` (clean latents, image-to-image) these
/// noised to the run's first level.
Tensor first_sample(const DenoisingRun& run, const Tensor& noise, const Tensor& start);
/// Step i from x.
Transition transition(const DenoisingModel& model, const DenoisingRun& run, int64_t i, const Tensor& x,
                      StepHistory& history);
/// The sample after step i: its random numbers are those of the rows' keys and the step.
Tensor next_sample(const Transition& step, const std::vector<uint64_t>& keys, int64_t i);
/// The standard deviation of step i, whatever the model says; 0 where the step is deterministic.
double step_std(const DenoisingRun& run, int64_t i);

}  // namespace rft
