#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// softmax(q k^T / sqrt(d)) v for q [N, H, L, d], k and v [N, H, M, d] of any strides -> [N, L, H * d]; differentiable.
/// float32 on the CPU is computed by kernels of ours (src/ops/attention_kernels.h): with the small heads of image models
/// LibTorch's attention takes two fifths of a sampling step. Elsewhere it is LibTorch's.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v);

}  // namespace rft::ops
