#include "objective/rewarded_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace rft::objective {

Tensor share_of_mean(const Tensor& x, const Tensor& kept, double rows) {
  Tensor count = kept.sum().to(x.scalar_type()).clamp_min(1);
  return zero_where_masked(x, kept).sum().div(count).mul(static_cast<double>(x.size(0)) / std::max(rows, 1.0));
}

}  // namespace rft::objective
