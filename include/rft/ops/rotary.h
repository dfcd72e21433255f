#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// Rotary position embedding (Su et al. 2021, arXiv:2104.09864) in Hugging Face's half layout: in the first `rotated`
/// heads of x [N, heads, head_dim] the pair (d, d + head_dim / 2) is turned by its angle; the other heads are copied.
/// cos, sin [N, head_dim / 2], of x's dtype, have no gradient. Returns a contiguous tensor, differentiable in x.
Tensor rotary(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t rotated);

}  // namespace rft::ops
