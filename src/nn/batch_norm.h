#pragma once
#include "rft/nn/weights.h"

namespace rft {

/// A frozen BatchNorm2d: each channel less its running mean, over its running deviation.
struct BatchNorm {
  Norm norm;
  Tensor mean, variance;  ///< [C], saved and not trained
};

BatchNorm read_batch_norm(const WeightSource& source, const std::string& name, int64_t channels);
/// x [N, C, h, w] -> the same shape.
Tensor apply(const BatchNorm& norm, const Tensor& x);

}  // namespace rft
