#include <ATen/ATen.h>

#include <cmath>

#include "diffusion/discrete_scheduler.h"
#include "diffusion/flow_sde.h"
#include "diffusion/schedulers.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Shifting of noise levels towards 1 for larger images (Esser et al. 2024, arXiv:2403.03206, section 5.3.2).
struct Shift {
  double shift, base, max, terminal;
  int64_t base_tokens, max_tokens;
  bool dynamic, exponential;
};

Shift read_shift(ModelConfig& config) {
  Shift out{config.number("shift", 1),
            config.number("base_shift", 0.5),
            config.number("max_shift", 1.15),
            config.number("shift_terminal", 0),
            config.integer("base_image_seq_len", 256),
            config.integer("max_image_seq_len", 4096),
            config.flag("use_dynamic_shifting", false),
            config.text("time_shift_type", "exponential") == "exponential"};
  config.only("time_shift_type", {"exponential", "linear"});
  if (!(out.shift > 0)) config.refuse("shift", "must be above 0");
  if (!(out.terminal >= 0 && out.terminal < 1)) config.refuse("shift_terminal", "must be from 0 to 1");
  if (out.max_tokens <= out.base_tokens) config.refuse("max_image_seq_len", "must be above base_image_seq_len");
  return out;
}

double shifted(double sigma, double shift) { return shift * sigma / (1 + (shift - 1) * sigma); }

/// Euler's method on the flow from noise (sigma = 1) to data (sigma = 0).
class FlowMatchEuler : public Scheduler {
 public:
  FlowMatchEuler(std::string json, ModelConfig& config)
      : json_(std::move(json)),
        where_(config.where()),
        T_(config.integer("num_train_timesteps", 1000)),
        shift_(read_shift(config)),
        spread_(read_spread(config)),
        stochastic_(config.flag("stochastic_sampling", false)),
        even_levels_(config.flag("_even_levels", false)) {
    if (T_ < 1 || T_ > 1000000) config.refuse("num_train_timesteps", "must be from 1 to 1000000");
    config.only("invert_sigmas", {false});
  }

  Plan plan(int64_t steps, int64_t image_tokens) const override {
    if (steps < 1 || steps > T_)
      bad_input(where_, "a run has from 1 to ", T_, " steps (num_train_timesteps); got ", steps);
    Plan out{{}, shift_.dynamic ? dynamic_sigmas(steps, image_tokens) : static_sigmas(steps), 1};
    if (shift_.terminal > 0) {
      double stretch = (1 - out.sigmas.back()) / (1 - shift_.terminal);
      if (!(stretch > 0)) bad_input(where_, "`shift_terminal` needs a run of more than 1 step");
      for (double& sigma : out.sigmas) sigma = 1 - (1 - sigma) / stretch;
    }
    if (spread_ != Spread::timesteps) out.sigmas = spread_sigmas(spread_, out.sigmas.front(), out.sigmas.back(), steps);
    for (double& sigma : out.sigmas) {
      sigma = static_cast<float>(sigma);
      out.timesteps.push_back(static_cast<float>(sigma) * static_cast<float>(T_));
    }
    out.sigmas.push_back(0);
    return out;
  }

  Transition step(const Plan& plan, int64_t i, const Tensor& output, const Tensor& x, const StepOptions& options,
                  StepHistory&) const override {
    double from = plan.sigmas[static_cast<size_t>(i)], to = plan.sigmas[static_cast<size_t>(i) + 1];
    Tensor velocity = mean_channels(output, x);
    if (options.sde != "default")
      return flow_sde_step(options.sde, options.eta, {from, to, plan.sigmas[1]}, velocity, x);
    Tensor clean = x.sub(velocity.mul(from));
    if (stochastic_) return {clean.mul(1 - to), to, clean};
    return {x.add(velocity.mul(static_cast<float>(to) - static_cast<float>(from))), 0, clean};
  }

  Tensor add_noise(const Tensor& clean, const Tensor& noise, const Tensor& timestep) const override {
    Tensor sigma = sigma_of(timestep, clean);
    return clean.mul(1 - sigma).add(noise.mul(sigma)).to(clean.dtype());
  }
  Tensor target(const Tensor& clean, const Tensor& noise, const Tensor&) const override { return noise.sub(clean); }
  Tensor denoised(const Tensor& x, const Tensor& output, const Tensor& timestep) const override {
    return x.sub(mean_channels(output, x).mul(sigma_of(timestep, x))).to(x.dtype());
  }
  /// One of the T training levels n / T, shifted where the shift does not depend on the image.
  Tensor training_timesteps(const Tensor& u) const override {
    auto count = static_cast<double>(T_);
    Tensor level = u.to(at::kDouble).mul(count).floor().clamp(0, count - 1).add(1).div(count);
    if (!shift_.dynamic) level = level.mul(shift_.shift).div(level.mul(shift_.shift - 1).add(1));
    return level.mul(count).to(at::kFloat);
  }
  bool flow() const override { return true; }
  const std::string& config_json() const override { return json_; }

 private:
  /// [N, 1, ...]
  Tensor sigma_of(const Tensor& timestep, const Tensor& like) const {
    std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
    shape[0] = -1;
    auto wide = at::promote_types(like.scalar_type(), at::kFloat);
    return timestep.flatten().to(wide).div(static_cast<double>(T_)).to(like.device()).view(shape);
  }

  /// Evenly spaced between the first and last training level, which are shifted already, and shifted again. Flux's
  /// pipeline gives levels of its own, from 1 to 1 / steps, which are shifted once.
  std::vector<double> static_sigmas(int64_t steps) const {
    if (even_levels_) {
      auto out = linspace(1, 1 / static_cast<double>(steps), steps);
      for (double& sigma : out) sigma = shifted(sigma, shift_.shift);
      return out;
    }
    auto count = static_cast<double>(T_);
    auto low = static_cast<float>(shifted(1 / count, shift_.shift));
    auto out = linspace(count, low * count, steps);
    for (double& sigma : out) sigma = shifted(sigma / count, shift_.shift);
    return out;
  }

  /// The levels that image pipelines give (1 to 1 / steps), shifted by the number of image tokens.
  std::vector<double> dynamic_sigmas(int64_t steps, int64_t tokens) const {
    if (tokens < 1) bad_input(where_, "`use_dynamic_shifting` needs the number of image tokens; got ", tokens);
    double slope = (shift_.max - shift_.base) / static_cast<double>(shift_.max_tokens - shift_.base_tokens);
    double mu = shift_.base + slope * static_cast<double>(tokens - shift_.base_tokens);
    double factor = shift_.exponential ? std::exp(mu) : mu;
    auto out = linspace(1, 1 / static_cast<double>(steps), steps);
    for (double& sigma : out) sigma = factor / (factor + 1 / sigma - 1);
    return out;
  }

  std::string json_, where_;
  int64_t T_;
  Shift shift_;
  Spread spread_;
  bool stochastic_, even_levels_;
};

}  // namespace

std::unique_ptr<Scheduler> make_flow_match_euler(const std::string& json, ModelConfig& config) {
  return std::make_unique<FlowMatchEuler>(json, config);
}

}  // namespace rft
