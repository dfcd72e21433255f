#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "diffusion/discrete_scheduler.h"
#include "diffusion/schedulers.h"

namespace rft {
namespace {

/// Samples are clean + sigma * noise, and the denoiser gets them divided by sqrt(sigma^2 + 1). Karras et al. 2022
/// (arXiv:2206.00364), algorithm 2 without churn.
class Euler : public DiscreteScheduler {
 public:
  Euler(const std::string& json, ModelConfig& config, NoiseSchedule noise, bool ancestral)
      : DiscreteScheduler(json, config.where(), with_finite_sigmas(std::move(noise))),
        spacing_(read_spacing(config, "linspace")),
        sigmas_(this->noise().sigmas()),
        ancestral_(ancestral) {
    if (ancestral) {
      config.only("prediction_type", {"epsilon", "v_prediction"});
      return;
    }
    spread_ = read_spread(config);
    config.only("interpolation_type", {"linear"});
    config.only("timestep_type", {"discrete"});
    config.only("final_sigmas_type", {"zero", "sigma_min"});
    config.only("sigma_min"), config.only("sigma_max");
    if (config.text("final_sigmas_type", "zero") == "sigma_min") last_ = sigmas_.front();
  }

  Plan plan(int64_t steps, int64_t) const override {
    check_steps(steps);
    Plan out{spaced_timesteps(spacing_, T(), steps, false), {}, 1};
    check_timesteps(out.timesteps);
    for (double t : out.timesteps) out.sigmas.push_back(sigma_at(t, sigmas_));
    if (spread_ != Spread::timesteps) {
      out.sigmas = spread_sigmas(spread_, out.sigmas.front(), out.sigmas.back(), steps);
      for (size_t i = 0; i < out.sigmas.size(); ++i)
        out.timesteps[i] = static_cast<float>(timestep_of(out.sigmas[i], sigmas_));
    }
    out.sigmas.push_back(last_);
    for (double& sigma : out.sigmas) sigma = static_cast<float>(sigma);
    auto largest = static_cast<float>(*std::max_element(out.sigmas.begin(), out.sigmas.end()));
    out.init_noise_sigma = spacing_.kind == "leading" ? std::sqrt(largest * largest + 1) : largest;
    return out;
  }

  Tensor scale_input(const Tensor& x, const Plan& plan, int64_t i) const override {
    auto sigma = static_cast<float>(plan.sigmas[static_cast<size_t>(i)]);
    return x.div(std::sqrt(sigma * sigma + 1));
  }

  Transition step(const Plan& plan, int64_t i, const Tensor& output, const Tensor& x, const StepOptions& options,
                  StepHistory&) const override {
    check_no_sde(options);
    auto from = static_cast<float>(plan.sigmas[static_cast<size_t>(i)]);
    auto to = static_cast<float>(plan.sigmas[static_cast<size_t>(i) + 1]);
    Tensor clean = clean_sample(mean_channels(output, x), x, from);
    // The new noise's and what is left of the old, up^2 + down^2 = to^2; sqrt(to^2 - up^2) would lose its digits.
    float up = ancestral_ ? to * std::sqrt((from * from - to * to) / (from * from)) : 0;
    float down = ancestral_ ? to * to / from : to;
    Tensor slope = x.sub(clean).div(from);
    return {x.add(slope.mul(down - from)), up, clean};
  }

 private:
  Tensor clean_sample(const Tensor& answer, const Tensor& x, float sigma) const {
    if (noise().prediction == Prediction::sample) return answer;
    if (noise().prediction == Prediction::epsilon) return x.sub(answer.mul(sigma));
    float power = sigma * sigma + 1;
    return answer.mul(-sigma / std::sqrt(power)).add(x.div(power));
  }

  Spacing spacing_;
  std::vector<float> sigmas_;
  bool ancestral_;
  Spread spread_ = Spread::timesteps;
  float last_ = 0;
};

}  // namespace

std::unique_ptr<Scheduler> make_euler(const std::string& json, ModelConfig& config) {
  return std::make_unique<Euler>(json, config, read_noise_schedule(config, {}), false);
}

std::unique_ptr<Scheduler> make_euler_ancestral(const std::string& json, ModelConfig& config) {
  return std::make_unique<Euler>(json, config, read_noise_schedule(config, {}), true);
}

}  // namespace rft
