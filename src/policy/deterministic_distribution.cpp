// An action is a point, and for exploration Gaussian noise around it: both within [-1, 1] before the bounds are met.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "policy/action_distribution.h"
#include "rft/core/noise.h"

namespace rft {
namespace {

class DeterministicDistribution : public ActionDistribution {
 public:
  explicit DeterministicDistribution(double noise) : noise_(noise) {}
  std::string name() const override { return "deterministic"; }
  int64_t outputs() const override { return space_.size(); }

  std::pair<Tensor, Tensor> draw(const Tensor& output, const std::vector<uint64_t>& keys, bool greedy) const override {
    Tensor action = output.tanh();
    if (!greedy) action = action.add(standard_normal(keys, {space_.size()}), noise_).clamp(-1, 1);
    return {action, logp(output, action)};
  }
  Tensor command(const Tensor& action) const override { return from_unit(action); }
  Tensor recorded(const Tensor& command) const override { return to_unit(command).clamp(-1, 1).to(at::kFloat); }
  /// Of the noise before it is clipped.
  Tensor logp(const Tensor& output, const Tensor& action) const override {
    double constant = std::log(noise_) + half_log_two_pi;
    return action.sub(output.tanh()).div(noise_).square().mul(-0.5).sub(constant).sum(-1);
  }
  Tensor entropy(const Tensor&, const Tensor& logp) const override {
    double each = std::log(noise_) + 0.5 * std::log(2 * std::numbers::pi * std::numbers::e);
    return at::full_like(logp, each * static_cast<double>(space_.size()));
  }

  Tensor scaled(const Tensor& action) const override { return action; }
  std::pair<Tensor, Tensor> reparametrised(const Tensor& output, const Tensor& noise) const override {
    Tensor action = output.tanh().add(noise, noise_).clamp(-1, 1);
    return {action, logp(output, action)};
  }
  Tensor middle(const Tensor& output) const override { return output.tanh(); }
  std::unique_ptr<ActionDistribution> frozen_copy() const override {
    return std::make_unique<DeterministicDistribution>(*this);
  }

 private:
  double noise_;
};

}  // namespace

std::unique_ptr<ActionDistribution> deterministic_distribution(double noise) {
  return std::make_unique<DeterministicDistribution>(noise);
}

}  // namespace rft
