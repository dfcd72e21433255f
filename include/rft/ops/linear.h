#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// x W^T + bias, x [N, in], weight [out, in], bias [out] or undefined; differentiable in all three. float32 products go
/// through oneDNN, which uses the whole vector unit where LibTorch's default (MKL) stays with AVX2, as it does on AMD's
/// CPUs: two to three times as fast there. Other dtypes are at::linear.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace rft::ops
