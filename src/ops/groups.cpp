#include "rft/ops/groups.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"

namespace rft::ops {
namespace {

Tensor zero_where_nan(const Tensor& x) { return at::where(x.isnan(), at::zeros({}, x.options()), x); }
Tensor is_valid(const Tensor& x) { return x.isnan().logical_not().to(x.scalar_type()); }
/// The deviation of `count` values whose squared distances from their mean sum to `squares`.
Tensor deviation_of(const Tensor& squares, const Tensor& count) {
  return squares.div(count.sub(1).clamp_min(1)).sqrt();
}

}  // namespace

Groups::Groups(const Tensor& group) {
  auto [numbers, index, counts] =
      at::_unique2(group, /*sorted=*/true, /*return_inverse=*/true, /*return_counts=*/false);
  index_ = index;
  count_ = numbers.numel();
}

Tensor Groups::sum(const Tensor& x) const {
  return at::zeros({count_}, x.options()).index_add_(0, index_, zero_where_nan(x)).index_select(0, index_);
}
Tensor Groups::size() const {
  return at::zeros({count_}, index_.options()).index_add_(0, index_, at::ones_like(index_)).index_select(0, index_);
}
Tensor Groups::valid(const Tensor& x) const { return sum(is_valid(x)); }
Tensor Groups::mean(const Tensor& x) const { return sum(x).div(valid(x)); }
Tensor Groups::deviation(const Tensor& x) const {
  Tensor squares = sum(x.sub(mean(x)).square());
  return deviation_of(squares, valid(x));
}

Tensor nan_mean(const Tensor& x) { return zero_where_nan(x).sum().div(is_valid(x).sum()); }
Tensor nan_deviation(const Tensor& x) {
  Tensor squares = zero_where_nan(x.sub(nan_mean(x)).square()).sum();
  return deviation_of(squares, is_valid(x).sum());
}

Tensor row_rewards(const Experience& batch) {
  if (!batch.reward.defined()) run_failed("Experience", "`reward` is needed, and the batch has none");
  Tensor reward = batch.reward.to(at::kDouble);
  if (reward.dim() == 1) return reward;
  // A row without decisions is all that is left of an episode that broke down: its NaN says so.
  Tensor empty = batch.mask.any(1, /*keepdim=*/true).logical_not();
  Tensor counts = batch.mask.logical_or(empty.logical_and(reward.isnan()));
  return at::where(counts, reward, at::zeros({}, reward.options())).sum(1);
}

}  // namespace rft::ops
