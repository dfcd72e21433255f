#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// silu(gate) * up (Shazeer 2020, arXiv:2002.05202): x [N, 2 W] holds gate, then up; returns [N, W]. Differentiable;
/// the float32 backward pass keeps x alone.
Tensor swiglu(const Tensor& x);

}  // namespace rft::ops
