#include <ATen/ATen.h>

#include <cmath>

#include "diffusion/discrete_scheduler.h"
#include "diffusion/schedulers.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Multistep sampling of latent consistency models (Luo et al. 2023, arXiv:2310.04378): every step estimates the clean
/// sample and, but for the last, noises it to the next level.
class Lcm : public DiscreteScheduler {
 public:
  Lcm(const std::string& json, ModelConfig& config, NoiseSchedule noise)
      : DiscreteScheduler(json, config.where(), std::move(noise)),
        clip_(read_clip(config, false)),
        original_steps_(config.integer("original_inference_steps", 50)),
        scaling_(config.number("timestep_scaling", 10)) {
    refuse_thresholding(config);
    // Its timesteps are those it was distilled at, and its last step ends in the clean sample.
    config.ignore({"timestep_spacing", "steps_offset", "set_alpha_to_one"});
    if (original_steps_ < 1 || original_steps_ > T())
      config.refuse("original_inference_steps", cat("must be from 1 to ", T()));
  }

  Plan plan(int64_t steps, int64_t) const override {
    check_steps(steps);
    if (steps > original_steps_)
      bad_input(where(), "a run has at most `original_inference_steps` = ", original_steps_, " steps; got ", steps);
    Plan out;
    double stride = static_cast<double>(original_steps_) / static_cast<double>(steps);
    for (int64_t i = 0; i < steps; ++i) {
      auto skipped = static_cast<int64_t>(std::floor(static_cast<double>(i) * stride));
      out.timesteps.push_back(static_cast<double>((original_steps_ - skipped) * (T() / original_steps_) - 1));
    }
    return out;
  }

  Transition step(const Plan& plan, int64_t i, const Tensor& output, const Tensor& x, const StepOptions& options,
                  StepHistory&) const override {
    check_no_sde(options);
    auto at = static_cast<size_t>(i);
    auto t = static_cast<int64_t>(plan.timesteps[at]);
    Tensor clean = clean_from(noise().prediction, mean_channels(output, x), x, noise().at(t)).clamp(-clip_, clip_);
    // The boundary condition: at timestep 0 a sample is its own estimate.
    auto scaled = static_cast<float>(static_cast<double>(t) * scaling_);
    const float data = 0.25F;  // the data's variance, sigma_data = 0.5
    float skip = data / (scaled * scaled + data), out = scaled / std::sqrt(scaled * scaled + data);
    clean = clean.mul(out).add(x.mul(skip));
    if (i + 1 == plan.steps()) return {clean, 0, clean};
    float next = noise().at(static_cast<int64_t>(plan.timesteps[at + 1]));
    return {clean.mul(std::sqrt(next)), std::sqrt(1 - next), clean};
  }

 private:
  double clip_;
  int64_t original_steps_;
  double scaling_;
};

}  // namespace

std::unique_ptr<Scheduler> make_lcm(const std::string& json, ModelConfig& config) {
  return std::make_unique<Lcm>(json, config, read_noise_schedule(config, {0.00085, 0.012, "scaled_linear"}));
}

}  // namespace rft
