#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// c = scale * a b + bias, or c += scale * a b where `add`: a [m, k], b [k, n], c [m, n] (rows may lie further apart),
/// bias [n] or undefined (not with `add`). By the faster of gemm() and LibTorch; no graph.
void matmul_into(Tensor c, const Tensor& a, const Tensor& b, double scale, bool add, const Tensor& bias = {});

/// What sums of x's products are kept in.
inline at::ScalarType accumulate_type(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace rft::ops
