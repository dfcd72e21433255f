#include "policy/action_distribution.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "rft/core/noise.h"
#include "rft/core/rng.h"
#include "rft/ops/policy_loss.h"

namespace rft {
namespace {

const double kHalfLogTwoPi = 0.5 * std::log(2 * std::numbers::pi);

/// log(1 - tanh(u)^2), exact for large u.
double log_slope(double u) { return 2 * (std::numbers::ln2 - u - std::log1p(std::exp(-2 * u))); }

class GaussianDistribution : public ActionDistribution {
 public:
  GaussianDistribution(double log_std, bool squash) : start_(log_std), squash_(squash) {}

  void enter(const ActionSpace& space) override {
    space_ = space;
    log_std_ = at::full({space.size()}, start_, at::kFloat).requires_grad_(true);
  }
  int64_t outputs() const override { return space_.size(); }

  std::pair<Tensor, Tensor> draw(const Tensor& output, const std::vector<uint64_t>& keys, bool greedy) const override {
    int64_t rows = output.size(0), K = space_.size();
    Tensor action = greedy ? output.clone() : standard_normal(keys, {K});
    Tensor logp = at::empty({rows}, at::kFloat);
    const float* mean = output.const_data_ptr<float>();
    const float* log_std = log_std_.const_data_ptr<float>();
    float* out = action.data_ptr<float>();
    for (int64_t i = 0; i < rows; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < K; ++k) {
        double std = std::exp(log_std[k]);
        if (!greedy) out[i * K + k] = static_cast<float>(mean[i * K + k] + std * out[i * K + k]);
        // Of the number that was rounded to float32, as the trainer will judge it.
        double z = (out[i * K + k] - mean[i * K + k]) / std;
        sum -= 0.5 * z * z + log_std[k] + kHalfLogTwoPi;
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

  Tensor logp(const Tensor& output, const Tensor& action) const override {
    auto shape = output.sizes().vec();
    shape.pop_back();
    Tensor out = ops::normal_logp(output.flatten(0, -2), log_std_, action.flatten(0, -2)).view(shape);
    if (!squash_) return out;
    double ranges = 0;
    for (int64_t k = 0; k < space_.size(); ++k) ranges += std::log(half_range(k));
    Tensor slope = action.neg().add(std::numbers::ln2).sub(at::softplus(action.mul(-2))).mul(2);  // log_slope
    return out.sub(slope.sum(-1)).sub(ranges);
  }

  Tensor entropy(const Tensor& output, const Tensor& logp) const override {
    if (squash_) return logp.neg();
    double constant = (kHalfLogTwoPi + 0.5) * static_cast<double>(space_.size());
    auto shape = output.sizes().vec();
    shape.pop_back();
    return log_std_.sum().add(constant).expand(shape).contiguous();
  }

  std::vector<std::pair<std::string, Tensor>> tensors() const override { return {{"log_std", log_std_}}; }
  std::unique_ptr<ActionDistribution> frozen_copy() const override {
    auto out = std::make_unique<GaussianDistribution>(start_, squash_);
    out->space_ = space_;
    out->log_std_ = log_std_.detach().clone();
    return out;
  }

 private:
  double half_range(int64_t k) const { return 0.5 * (space_.high[k] - space_.low[k]); }

  double start_;
  bool squash_;
  ActionSpace space_;
  Tensor log_std_;
};

class CategoricalDistribution : public ActionDistribution {
 public:
  void enter(const ActionSpace& space) override { choices_ = space.choices; }
  int64_t outputs() const override { return choices_; }

  std::pair<Tensor, Tensor> draw(const Tensor& output, const std::vector<uint64_t>& keys, bool greedy) const override {
    int64_t rows = output.size(0);
    Tensor action = at::empty({rows, 1}, at::kLong), all = output.log_softmax(1);
    const float* logp = all.const_data_ptr<float>();
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = logp + i * choices_;
      int64_t chosen = std::max_element(row, row + choices_) - row;
      double left = greedy ? 0 : Rng(keys[static_cast<size_t>(i)]).uniform(0);
      for (int64_t k = 0; !greedy && k < choices_; ++k)
        if ((left -= std::exp(row[k])) < 0) {
          chosen = k;
          break;
        }
      action.data_ptr<int64_t>()[i] = chosen;
    }
    return {action, all.gather(1, action).squeeze(1)};
  }
  Tensor command(const Tensor& action) const override { return action.to(at::kDouble); }
  Tensor logp(const Tensor& output, const Tensor& action) const override {
    return output.log_softmax(-1).gather(-1, action).squeeze(-1);
  }
  Tensor entropy(const Tensor& output, const Tensor&) const override {
    Tensor all = output.log_softmax(-1);
    return all.exp().mul(all).sum(-1).neg();
  }
  std::unique_ptr<ActionDistribution> frozen_copy() const override {
    return std::make_unique<CategoricalDistribution>(*this);
  }

 private:
  int64_t choices_ = 0;
};

}  // namespace

std::unique_ptr<ActionDistribution> gaussian_distribution(double log_std, bool squash) {
  return std::make_unique<GaussianDistribution>(log_std, squash);
}
std::unique_ptr<ActionDistribution> categorical_distribution() { return std::make_unique<CategoricalDistribution>(); }

}  // namespace rft
