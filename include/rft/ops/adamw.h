#pragma once
/// One step of AdamW over a flat run of weights.
#include "rft/core/tensor.h"

namespace rft::ops {

struct AdamWStep {
  double lr, beta1, beta2, weight_decay, eps;
  int64_t step;  ///< from 1
};

/// Updates master, mean and square [n] (float32, or float64 on the CPU) in place by gradient [n], as PyTorch's fused
/// AdamW does (Loshchilov & Hutter 2019, arXiv:1711.05101). The gradient may be narrower. `narrow` [n], which may be
/// undefined, gets the new weights in its own dtype. All are dense and on one device.
void adamw(const Tensor& gradient, const AdamWStep& options, const Tensor& master, const Tensor& mean,
           const Tensor& square, const Tensor& narrow = {});

}  // namespace rft::ops
