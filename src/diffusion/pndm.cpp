#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "diffusion/discrete_scheduler.h"
#include "diffusion/schedulers.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Runge-Kutta steps at the start of a run, each of four evaluations of the model.
constexpr int64_t kWarmUp = 3, kEvaluations = 4;

/// Pseudo numerical methods (Liu et al. 2022, arXiv:2202.09778): a linear multistep method of order four, which starts
/// from three steps of Runge and Kutta's (PRK), or, with skip_prk_steps, from lower orders (PLMS); then the first level
/// but one is visited twice. A run has as many steps as the model is evaluated: 9 or 1 more than asked for.
class Pndm : public DiscreteScheduler {
 public:
  Pndm(const std::string& json, ModelConfig& config, NoiseSchedule noise)
      : DiscreteScheduler(json, config.where(), std::move(noise)),
        spacing_(read_spacing(config, "leading")),
        skip_(config.flag("skip_prk_steps", false)),
        final_(config.flag("set_alpha_to_one", false) ? 1 : this->noise().at(0)) {
    if (this->noise().prediction == Prediction::sample)
      config.refuse("prediction_type", "must be epsilon or v_prediction for PNDM");
  }

  Plan plan(int64_t steps, int64_t) const override {
    check_steps(steps);
    auto levels = spaced_timesteps(spacing_, T(), steps, true);
    check_timesteps(levels);
    Plan out;
    if (skip_) {
      out.timesteps = levels;
      if (steps > 1) out.timesteps.insert(out.timesteps.begin() + 1, levels[1]);
      return out;
    }
    if (steps <= kWarmUp) bad_input(where(), "PNDM needs at least ", kWarmUp + 1, " steps; got ", steps);
    auto half = static_cast<double>(T() / steps / 2);
    for (size_t i = 0; i < kWarmUp; ++i) {
      double between = levels[i + 1] + half;
      out.timesteps.insert(out.timesteps.end(), {levels[i], between, between, levels[i + 1]});
    }
    out.timesteps.insert(out.timesteps.end(), levels.begin() + kWarmUp, levels.end());
    return out;
  }

  bool multistep() const override { return true; }

  Transition step(const Plan& plan, int64_t i, const Tensor& output, const Tensor& x, const StepOptions& options,
                  StepHistory& history) const override {
    check_no_sde(options);
    auto t = static_cast<int64_t>(plan.timesteps[static_cast<size_t>(i)]);
    Tensor answer = mean_channels(output, x);
    Tensor clean = clean_from(noise().prediction, answer, x, noise().at(t));
    bool warm_up = !skip_ && i < kWarmUp * kEvaluations;
    return {warm_up ? runge_kutta(plan, i, answer, x, history.outputs)
                    : multistep_from(plan, i, answer, x, history.outputs),
            0, clean};
  }

 private:
  /// Formula (9) of the paper: from x at timestep `from` to timestep `to` along the predicted noise.
  Tensor moved(const Tensor& x, const Tensor& answer, int64_t from, int64_t to) const {
    float now = noise().at(from), next = to >= 0 ? noise().at(to) : final_;
    Tensor direction = answer;
    if (noise().prediction == Prediction::velocity)
      direction = answer.mul(std::sqrt(now)).add(x.mul(std::sqrt(1 - now)));
    float denominator = now * std::sqrt(1 - next) + std::sqrt(now * (1 - now) * next);
    return x.mul(std::sqrt(next / now)).sub(direction.mul((next - now) / denominator));
  }

  /// Evaluation i % 4 of a Runge-Kutta step. `kept`: the first answer of each such step, and within one the sample that
  /// it began with and the sum of its answers so far.
  Tensor runge_kutta(const Plan& plan, int64_t i, const Tensor& answer, const Tensor& x,
                     std::vector<Tensor>& kept) const {
    int64_t stage = i % kEvaluations, half = T() / count(plan) / 2;
    auto at = [&](int64_t j) { return static_cast<int64_t>(plan.timesteps[static_cast<size_t>(j)]); };
    int64_t to = at(i) - (i % 2 ? 0 : half), from = at(i - stage);
    if (stage == 0) {
      kept.insert(kept.end(), {answer, x, answer.div(6)});
      return moved(x, answer, from, to);
    }
    Tensor begin = kept[kept.size() - 2];
    if (stage < kEvaluations - 1) {
      kept.back() = kept.back().add(answer.div(3));
      return moved(begin, answer, from, to);
    }
    Tensor mean = kept.back().add(answer.div(6));
    kept.resize(kept.size() - 2);
    return moved(begin, mean, from, to);
  }

  /// `kept`: the last answers, newest last; between the two visits of the first level but one also the first sample.
  Tensor multistep_from(const Plan& plan, int64_t i, const Tensor& answer, const Tensor& x,
                        std::vector<Tensor>& kept) const {
    int64_t stride = T() / count(plan), t = static_cast<int64_t>(plan.timesteps[static_cast<size_t>(i)]);
    if (skip_ && i == 0) {
      kept = {x, answer};
      return moved(x, answer, t, t - stride);
    }
    if (skip_ && i == 1) {
      Tensor begin = kept[0];
      kept.erase(kept.begin());
      return moved(begin, answer.add(kept[0]).div(2), t + stride, t);
    }
    if (kept.size() > 3) kept.erase(kept.begin(), kept.end() - 3);
    kept.push_back(answer);
    size_t n = kept.size();
    auto e = [&](size_t back) { return kept[n - back]; };
    Tensor mean = answer;
    if (n == 2) mean = e(1).mul(3).sub(e(2)).div(2);
    if (n == 3) mean = e(1).mul(23).sub(e(2).mul(16)).add(e(3).mul(5)).div(12);
    if (n == 4) mean = e(1).mul(55).sub(e(2).mul(59)).add(e(3).mul(37)).sub(e(4).mul(9)).div(24);
    return moved(x, mean, t, t - stride);
  }

  /// How many steps were asked for.
  int64_t count(const Plan& plan) const {
    return skip_ ? std::max<int64_t>(plan.steps() - 1, 1) : plan.steps() - kWarmUp * (kEvaluations - 1);
  }

  Spacing spacing_;
  bool skip_;
  float final_;
};

}  // namespace

std::unique_ptr<Scheduler> make_pndm(const std::string& json, ModelConfig& config) {
  return std::make_unique<Pndm>(json, config, read_noise_schedule(config, {}));
}

}  // namespace rft
