#include "policy/action_distribution.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

[[noreturn]] void no_critics() {
  bad_input(
      "policy",
      "critics of single decisions need actions that are numbers within bounds: use gaussian with squash: true, or "
      "deterministic");
}

}  // namespace

Tensor ActionDistribution::uniform(const std::vector<uint64_t>& keys) const {
  auto rows = static_cast<int64_t>(keys.size());
  int64_t K = space_.size();
  Tensor out = at::empty({rows, K}, at::kDouble);
  double* to = out.data_ptr<double>();
  for (int64_t i = 0; i < rows; ++i) {
    Rng rng(keys[static_cast<size_t>(i)]);
    for (int64_t k = 0; k < K; ++k)
      to[i * K + k] = space_.discrete() ? static_cast<double>(rng.below(0, static_cast<uint64_t>(space_.choices)))
                                        : space_.low[k] + rng.uniform(static_cast<uint64_t>(k)) * 2 * half_range(k);
  }
  return out;
}

Tensor ActionDistribution::scaled(const Tensor&) const { no_critics(); }
std::pair<Tensor, Tensor> ActionDistribution::reparametrised(const Tensor&, const Tensor&) const { no_critics(); }
Tensor ActionDistribution::middle(const Tensor&) const { no_critics(); }

Tensor ActionDistribution::to_unit(const Tensor& command) const {
  Tensor low = at::tensor(space_.low, at::kDouble), high = at::tensor(space_.high, at::kDouble);
  return command.sub(low).div(high.sub(low)).mul(2).sub(1);
}

Tensor ActionDistribution::from_unit(const Tensor& unit) const {
  Tensor low = at::tensor(space_.low, at::kDouble), high = at::tensor(space_.high, at::kDouble);
  return unit.to(at::kDouble).add(1).mul(high.sub(low).div(2)).add(low);
}

}  // namespace rft
