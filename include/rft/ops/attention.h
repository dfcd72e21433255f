#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// softmax(q k^T / sqrt(d)) v for q [N, H, L, d], k and v [N, H, M, d] of any strides -> [N, L, H * d]; differentiable.
/// On AMD's CPUs with AVX-512 float32 is computed by gemm(), a head at a time: LibTorch's attention multiplies by MKL's
/// slowest path there, two fifths of a U-Net's sampling step. Elsewhere it is LibTorch's.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v);

}  // namespace rft::ops
