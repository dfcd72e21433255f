#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "policy/action_distribution.h"
#include "rft/core/noise.h"
#include "rft/ops/policy_loss.h"

namespace rft {
namespace {

/// Logarithms of deviations that a network gives are kept within these, as Stable-Baselines3's SAC does.
constexpr double kLeastLogStd = -20, kMostLogStd = 2;
/// An action at a bound is taken for one this close to it: the bound itself has no inverse under tanh.
constexpr double kInside = 1e-6;

/// log(1 - tanh(u)^2), exact for large u.
double log_slope(double u) { return 2 * (std::numbers::ln2 - u - std::log1p(std::exp(-2 * u))); }
Tensor log_slope(const Tensor& u) { return u.neg().add(std::numbers::ln2).sub(at::softplus(u.mul(-2))).mul(2); }

class GaussianDistribution : public ActionDistribution {
 public:
  GaussianDistribution(double log_std, bool squash, bool state_std)
      : start_(log_std), squash_(squash), state_std_(state_std) {}

  void enter(const ActionSpace& space) override {
    ActionDistribution::enter(space);
    if (!state_std_) log_std_ = at::full({space.size()}, start_, at::kFloat).requires_grad_(true);
  }
  std::string name() const override {
    return std::string(squash_ ? "squashed_gaussian" : "gaussian") + (state_std_ ? "_state_std" : "");
  }
  int64_t outputs() const override { return state_std_ ? 2 * space_.size() : space_.size(); }

  std::pair<Tensor, Tensor> draw(const Tensor& output, const std::vector<uint64_t>& keys, bool greedy) const override {
    int64_t rows = output.size(0), K = space_.size();
    Tensor means = mean_of(output).contiguous(), log_stds = log_std_of(output).contiguous();
    Tensor action = greedy ? means.clone() : standard_normal(keys, {K});
    Tensor logp = at::empty({rows}, at::kFloat);
    const float* mean = means.const_data_ptr<float>();
    const float* log_std = log_stds.const_data_ptr<float>();
    float* out = action.data_ptr<float>();
    for (int64_t i = 0; i < rows; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < K; ++k) {
        double log_of_std = log_std[state_std_ ? i * K + k : k], std = std::exp(log_of_std);
        if (!greedy) out[i * K + k] = static_cast<float>(mean[i * K + k] + std * out[i * K + k]);
        // Of the number that was rounded to float32, as the trainer will judge it.
        double z = (out[i * K + k] - mean[i * K + k]) / std;
        sum -= 0.5 * z * z + log_of_std + half_log_two_pi;
        if (squash_) sum -= log_slope(out[i * K + k]) + std::log(half_range(k));
      }
      logp.data_ptr<float>()[i] = static_cast<float>(sum);
    }
    return {action, logp};
  }

  Tensor command(const Tensor& action) const override {
    int64_t rows = action.size(0), K = space_.size();
    Tensor out = at::empty({rows, K}, at::kDouble);
    const float* from = action.const_data_ptr<float>();
    double* to = out.data_ptr<double>();
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t k = 0; k < K; ++k) {
        double low = space_.low[k], high = space_.high[k], a = from[i * K + k];
        to[i * K + k] = squash_ ? low + (std::tanh(a) + 1) * half_range(k) : std::clamp(a, low, high);
      }
    return out;
  }

  Tensor recorded(const Tensor& command) const override {
    if (!squash_) return command.to(at::kFloat);
    return to_unit(command).clamp(-1 + kInside, 1 - kInside).atanh().to(at::kFloat);
  }

  Tensor logp(const Tensor& output, const Tensor& action) const override {
    Tensor out = plain_logp(output, action);
    if (!squash_) return out;
    double ranges = 0;
    for (int64_t k = 0; k < space_.size(); ++k) ranges += std::log(half_range(k));
    return out.sub(log_slope(action).sum(-1)).sub(ranges);
  }

  Tensor entropy(const Tensor& output, const Tensor& logp) const override {
    if (squash_) return logp.neg();
    double constant = (half_log_two_pi + 0.5) * static_cast<double>(space_.size());
    auto shape = output.sizes().vec();
    shape.pop_back();
    if (state_std_) return log_std_of(output).sum(-1).add(constant);
    return log_std_.sum().add(constant).expand(shape).contiguous();
  }

  Tensor scaled(const Tensor& action) const override {
    return squash_ ? action.tanh() : to_unit(action).clamp(-1, 1).to(action.scalar_type());
  }

  std::pair<Tensor, Tensor> reparametrised(const Tensor& output, const Tensor& noise) const override {
    if (!squash_) return ActionDistribution::reparametrised(output, noise);
    Tensor log_std = log_std_of(output), action = mean_of(output).add(noise.mul(log_std.exp()));
    Tensor plain = noise.square().mul(-0.5).sub(log_std).sub(half_log_two_pi);
    return {action.tanh(), plain.sub(log_slope(action)).sum(-1)};
  }

  Tensor middle(const Tensor& output) const override { return scaled(mean_of(output)); }

  std::vector<std::pair<std::string, Tensor>> tensors() const override {
    if (state_std_) return {};
    return {{"log_std", log_std_}};
  }
  std::unique_ptr<ActionDistribution> frozen_copy() const override {
    auto out = std::make_unique<GaussianDistribution>(*this);
    if (!state_std_) out->log_std_ = log_std_.detach().clone();
    return out;
  }

 private:
  Tensor mean_of(const Tensor& output) const { return state_std_ ? output.narrow(-1, 0, space_.size()) : output; }
  /// [..., K], or [K].
  Tensor log_std_of(const Tensor& output) const {
    if (!state_std_) return log_std_;
    return output.narrow(-1, space_.size(), space_.size()).add(start_).clamp(kLeastLogStd, kMostLogStd);
  }
  /// Before tanh.
  Tensor plain_logp(const Tensor& output, const Tensor& action) const {
    if (state_std_) {
      Tensor log_std = log_std_of(output), z = action.sub(mean_of(output)).div(log_std.exp());
      return z.square().mul(-0.5).sub(log_std).sub(half_log_two_pi).sum(-1);
    }
    auto shape = output.sizes().vec();
    shape.pop_back();
    return ops::normal_logp(output.flatten(0, -2), log_std_, action.flatten(0, -2)).view(shape);
  }

  double start_;
  bool squash_, state_std_;
  Tensor log_std_;  ///< [K], without state_std
};

}  // namespace

std::unique_ptr<ActionDistribution> gaussian_distribution(double log_std, bool squash, bool state_std) {
  return std::make_unique<GaussianDistribution>(log_std, squash, state_std);
}

}  // namespace rft
