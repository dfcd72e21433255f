#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// x W^T + bias, x [N, in], weight [out, in], bias [out] or undefined; differentiable in all three. On AMD's CPUs with
/// AVX-512 float32 products are our own: MKL stays with AVX2 there, at half the speed. Elsewhere it is at::linear.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace rft::ops
