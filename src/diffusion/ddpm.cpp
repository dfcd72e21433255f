#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "diffusion/discrete_scheduler.h"
#include "diffusion/schedulers.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Variances between which a step's may lie: the posterior's given the clean sample, and beta.
struct VarianceRange {
  float small, large;
};

/// Ho et al. 2020 (arXiv:2006.11239), equation 7; the timestep before t is the next one that the run visits.
class Ddpm : public DiscreteScheduler {
 public:
  Ddpm(const std::string& json, ModelConfig& config, NoiseSchedule noise)
      : DiscreteScheduler(json, config.where(), std::move(noise)),
        spacing_(read_spacing(config, "leading")),
        clip_(read_clip(config, true)) {
    refuse_thresholding(config);
    config.only("variance_type",
                {"fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"});
    variance_ = config.text("variance_type", "fixed_small");
  }

  Plan plan(int64_t steps, int64_t) const override {
    check_steps(steps);
    Plan out{spaced_timesteps(spacing_, T(), steps, true), {}, 1};
    check_timesteps(out.timesteps);
    return out;
  }

  bool learned_variance() const override { return variance_.starts_with("learned"); }

  Transition step(const Plan& plan, int64_t i, const Tensor& output, const Tensor& x, const StepOptions& options,
                  StepHistory&) const override {
    check_no_sde(options);
    auto t = static_cast<int64_t>(plan.timesteps[static_cast<size_t>(i)]);
    bool last = i + 1 == plan.steps();
    float now = noise().at(t),
          next = last ? 1 : noise().at(static_cast<int64_t>(plan.timesteps[static_cast<size_t>(i) + 1]));
    float kept = now / next, beta = 1 - kept;
    Tensor clean = clean_from(noise().prediction, mean_channels(output, x), x, now).clamp(-clip_, clip_);
    double of_clean = std::sqrt(next) * beta / (1 - now), of_x = std::sqrt(kept) * (1 - next) / (1 - now);
    Transition out{clean.mul(of_clean).add(x.mul(of_x)), 0, clean};
    if (t > 0) add_spread(out, {(1 - next) / (1 - now) * beta, beta}, output, x);
    return out;
  }

 private:
  /// Where the posterior's variance is 0 (the last step), diffusers puts 1e-20 in its place for the logarithm's sake
  /// and adds noise that no sample shows; here such a step is deterministic.
  void add_spread(Transition& out, VarianceRange range, const Tensor& output, const Tensor& x) const {
    bool small = variance_.starts_with("fixed_small");
    out.std = std::sqrt(std::max(small ? range.small : range.large, 0.0F));
    if (!learned_variance()) return;
    if (output.size(1) != 2 * x.size(1))
      bad_input(where(), "`variance_type` ", variance_, " takes a denoiser with ", 2 * x.size(1),
                " output channels, half of them for the variance; it has ", output.size(1));
    Tensor answer = output.narrow(1, x.size(1), x.size(1)).to(x.scalar_type());
    if (variance_ == "learned") {
      out.stds = answer.sqrt();
      return;
    }
    // Nichol and Dhariwal 2021 (arXiv:2102.09672), equation 15; the floor keeps the logarithm finite.
    double low = std::log(std::max(range.small, 1e-20F)), high = std::log(range.large);
    Tensor share = answer.add(1).div(2);
    out.stds = share.mul(high).add((1 - share).mul(low)).mul(0.5).exp();
  }

  Spacing spacing_;
  double clip_;
  std::string variance_;
};

}  // namespace

std::unique_ptr<Scheduler> make_ddpm(const std::string& json, ModelConfig& config) {
  return std::make_unique<Ddpm>(json, config, read_noise_schedule(config, {}));
}

}  // namespace rft
