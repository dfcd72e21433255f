#pragma once
/// Root-mean-square norm, with its gradient in one pass.
#include "rft/core/tensor.h"

namespace rft::ops {

/// x [..., D], weight [D] of the same dtype: x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and
/// Sennrich 2019, arXiv:1910.07467). Differentiable once in x and weight; the result does not depend on the number of
/// threads. Half-precision input is normed in float32 and rounded before the weight is applied, as transformers does
/// it.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

}  // namespace rft::ops
