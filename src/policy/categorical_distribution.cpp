#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "policy/action_distribution.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

class CategoricalDistribution : public ActionDistribution {
 public:
  std::string name() const override { return "categorical"; }
  int64_t outputs() const override { return space_.choices; }

  std::pair<Tensor, Tensor> draw(const Tensor& output, const std::vector<uint64_t>& keys, bool greedy) const override {
    int64_t rows = output.size(0), choices = space_.choices;
    Tensor action = at::empty({rows, 1}, at::kLong), all = output.log_softmax(1);
    const float* logp = all.const_data_ptr<float>();
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = logp + i * choices;
      int64_t chosen = std::max_element(row, row + choices) - row;
      double left = greedy ? 0 : Rng(keys[static_cast<size_t>(i)]).uniform(0);
      for (int64_t k = 0; !greedy && k < choices; ++k)
        if ((left -= std::exp(row[k])) < 0) {
          chosen = k;
          break;
        }
      action.data_ptr<int64_t>()[i] = chosen;
    }
    return {action, all.gather(1, action).squeeze(1)};
  }
  Tensor command(const Tensor& action) const override { return action.to(at::kDouble); }
  Tensor recorded(const Tensor& command) const override { return command.to(at::kLong); }
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
};

}  // namespace

std::unique_ptr<ActionDistribution> categorical_distribution() { return std::make_unique<CategoricalDistribution>(); }

}  // namespace rft
