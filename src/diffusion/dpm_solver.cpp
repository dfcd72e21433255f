#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "diffusion/discrete_scheduler.h"
#include "diffusion/schedulers.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// A noise level as shares of signal and noise, and half its log signal-to-noise ratio.
struct Level {
  explicit Level(double sigma_over_signal)
      : signal(1 / std::sqrt(static_cast<float>(sigma_over_signal * sigma_over_signal) + 1)),
        noise(static_cast<float>(sigma_over_signal) * signal),
        lambda(std::log(signal) - std::log(noise)) {}
  float signal, noise, lambda;
};

/// DPM-Solver++ 1 and 2M, midpoint (Lu et al. 2022, arXiv:2211.01095, algorithm 2).
class DpmSolver : public DiscreteScheduler {
 public:
  DpmSolver(const std::string& json, ModelConfig& config, NoiseSchedule noise)
      : DiscreteScheduler(json, config.where(), with_finite_sigmas(std::move(noise))),
        spacing_(read_spacing(config, "linspace")),
        spread_(read_spread(config)),
        order_(config.integer("solver_order", 2)),
        euler_at_final_(config.flag("euler_at_final", false)),
        lower_order_final_(config.flag("lower_order_final", true)),
        lambda_min_(config.number("lambda_min_clipped", -std::numeric_limits<double>::infinity())),
        sigmas_(this->noise().sigmas()) {
    if (order_ != 1 && order_ != 2) config.refuse("solver_order", "can only be 1 or 2");
    refuse_thresholding(config);
    config.only("algorithm_type", {"dpmsolver++", "deis"});
    config.only("solver_type", {"midpoint", "logrho", "bh1", "bh2"});
    config.only("final_sigmas_type", {"zero", "sigma_min"});
    config.only("variance_type", {"learned", "learned_range", "fixed_small", "fixed_large"});
    config.only("use_lu_lambdas", {false}), config.only("use_flow_sigmas", {false});
    config.only("use_dynamic_shifting", {false});
    config.ignore({"flow_shift", "time_shift_type"});
    if (config.text("final_sigmas_type", "zero") == "sigma_min")
      last_ = sigmas_.front();
    else
      ends_clean_ = true;
  }

  Plan plan(int64_t steps, int64_t) const override {
    check_steps(steps);
    Plan out{timesteps(steps), {}, 1};
    check_timesteps(out.timesteps);
    if (spread_ == Spread::timesteps) {
      for (double t : out.timesteps) out.sigmas.push_back(sigma_at(t, sigmas_));
    } else {
      out.sigmas = spread_sigmas(spread_, sigmas_.back(), sigmas_.front(), steps);
      out.timesteps.clear();
      bool whole = spread_ == Spread::karras && noise().beta_schedule != "squaredcos_cap_v2";
      for (double sigma : out.sigmas) {
        double t = timestep_of(sigma, sigmas_);
        out.timesteps.push_back(std::trunc(whole ? std::nearbyint(t) : t));
      }
    }
    out.sigmas.push_back(last_);
    for (double& sigma : out.sigmas) sigma = static_cast<float>(sigma);
    return out;
  }

  bool multistep() const override { return order_ > 1; }

  Transition step(const Plan& plan, int64_t i, const Tensor& output, const Tensor& x, const StepOptions& options,
                  StepHistory& history) const override {
    check_no_sde(options);
    auto at = static_cast<size_t>(i);
    Level from(plan.sigmas[at]), to(plan.sigmas[at + 1]);
    Tensor clean = clean_sample(mean_channels(output, x), x, from);
    float h = to.lambda - from.lambda, gain = to.signal * (std::exp(-h) - 1);
    Tensor mean = x.mul(to.noise / from.noise).sub(clean.mul(gain));
    bool first = order_ == 1 || i == 0 || history.outputs.empty() || ends_in_first_order(plan, i);
    if (!first) {
      float ratio = (from.lambda - Level(plan.sigmas[at - 1]).lambda) / h;
      Tensor slope = clean.sub(history.outputs.back()).mul(1 / ratio);
      mean = mean.sub(slope.mul(0.5F * gain));
    }
    if (order_ > 1) history.outputs = {clean};
    return {mean, 0, clean};
  }

 private:
  bool ends_in_first_order(const Plan& plan, int64_t i) const {
    return i + 1 == plan.steps() && (euler_at_final_ || (lower_order_final_ && plan.whole_steps() < 15) || ends_clean_);
  }

  Tensor clean_sample(const Tensor& answer, const Tensor& x, const Level& level) const {
    if (noise().prediction == Prediction::sample) return answer;
    if (noise().prediction == Prediction::velocity) return x.mul(level.signal).sub(answer.mul(level.noise));
    return x.sub(answer.mul(level.noise)).div(level.signal);
  }

  /// How many of the T timesteps have a lambda of at least lambda_min_clipped.
  int64_t usable() const {
    int64_t count = 0;
    for (int64_t t = 0; t < T(); ++t) {
      float a = noise().at(t), lambda = std::log(std::sqrt(a)) - std::log(std::sqrt(1 - a));
      if (lambda >= static_cast<float>(lambda_min_)) ++count;
    }
    if (count == 0) bad_input(where(), "`lambda_min_clipped` leaves no timestep; got ", lambda_min_);
    return count;
  }

  std::vector<double> timesteps(int64_t steps) const {
    int64_t last = usable();
    std::vector<double> out;
    if (spacing_.kind == "linspace") {
      out = linspace(0, static_cast<double>(last - 1), steps + 1);
      std::reverse(out.begin(), out.end());
      out.pop_back();
      for (double& t : out) t = std::nearbyint(t);
      return out;
    }
    auto end = static_cast<double>(last), ratio = static_cast<double>(T()) / static_cast<double>(steps);
    double down = (end - ratio) - end;
    for (int64_t i = 0; i < steps; ++i) {
      if (spacing_.kind == "leading")
        out.push_back(static_cast<double>((steps - i) * (last / (steps + 1)) + spacing_.offset));
      else if (end + static_cast<double>(i) * down > 0)
        out.push_back(std::nearbyint(end + static_cast<double>(i) * down) - 1);
    }
    return out;
  }

  Spacing spacing_;
  Spread spread_;
  int64_t order_;
  bool euler_at_final_, lower_order_final_, ends_clean_ = false;
  double lambda_min_;
  std::vector<float> sigmas_;
  float last_ = 0;
};

}  // namespace

std::unique_ptr<Scheduler> make_dpm_solver(const std::string& json, ModelConfig& config) {
  return std::make_unique<DpmSolver>(json, config, read_noise_schedule(config, {}));
}

}  // namespace rft
