#pragma once
#include <vector>

#include "rft/core/tensor.h"

namespace rft::ops {

/// A low-rank addition to some columns of y: y[:, first : first + rows of b] += scale * (x a^T) b^T.
struct LowRank {
  Tensor a;  ///< [r, in]
  Tensor b;  ///< [columns, r]
  int64_t first = 0;
  double scale = 1;
};

/// x W^T + bias and the additions, x [N, in], weight [out, in], bias [out] or undefined; differentiable in all tensors.
/// With `scale` the weight is codes (rft/ops/quantized.h), which are unpacked for each product and have no gradient.
/// On AMD's CPUs with AVX-512 float32 products are our own: MKL stays with AVX2 there, at half the speed.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const std::vector<LowRank>& additions = {}, const Tensor& scale = {});

}  // namespace rft::ops
