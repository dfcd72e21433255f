#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "diffusion/discrete_scheduler.h"
#include "diffusion/schedulers.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Song et al. 2021 (arXiv:2010.02502), equation 12.
class Ddim : public DiscreteScheduler {
 public:
  Ddim(const std::string& json, ModelConfig& config, NoiseSchedule noise)
      : DiscreteScheduler(json, config.where(), std::move(noise)),
        spacing_(read_spacing(config, "leading")),
        clip_(read_clip(config, true)),
        final_(config.flag("set_alpha_to_one", true) ? 1 : this->noise().at(0)) {
    refuse_thresholding(config);
  }

  Plan plan(int64_t steps, int64_t) const override {
    check_steps(steps);
    Plan out{spaced_timesteps(spacing_, T(), steps, true), {}, 1};
    check_timesteps(out.timesteps);
    return out;
  }

  Transition step(const Plan& plan, int64_t i, const Tensor& output, const Tensor& x, const StepOptions& options,
                  StepHistory&) const override {
    check_no_sde(options);
    if (!(options.eta >= 0 && options.eta <= 1)) bad_input("eta", "DDIM's is from 0 to 1; got ", options.eta);
    auto t = static_cast<int64_t>(plan.timesteps[static_cast<size_t>(i)]), previous = t - T() / plan.whole_steps();
    float now = noise().at(t), next = previous >= 0 ? noise().at(previous) : final_;
    float variance = (1 - next) / (1 - now) * (1 - now / next);
    float std = static_cast<float>(options.eta) * std::sqrt(std::max(variance, 0.0F));
    Tensor answer = mean_channels(output, x), clean = clean_from(noise().prediction, answer, x, now);
    Tensor direction = noise_from(noise().prediction, answer, x, now);
    clean = clean.clamp(-clip_, clip_);
    double rest = std::sqrt(std::max(1 - next - std * std, 0.0F));
    return {clean.mul(std::sqrt(next)).add(direction.mul(rest)), std, clean};
  }

 private:
  Spacing spacing_;
  double clip_;
  float final_;
};

}  // namespace

std::unique_ptr<Scheduler> make_ddim(const std::string& json, ModelConfig& config) {
  return std::make_unique<Ddim>(json, config, read_noise_schedule(config, {}));
}

}  // namespace rft
