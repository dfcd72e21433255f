#pragma once
/// Matrix products of few rows, without autograd, on the CPU: sampling reads every weight once a step.
#include "rft/core/tensor.h"

namespace rft::ops {

/// A weight [out, in], float32 or bfloat16, row-major, or its codes (rft/ops/quantized.h). Does not own its memory.
struct MatrixView {
  enum class Numbers { float32, bfloat16, int8, nf4 };
  const void* data = nullptr;
  Numbers numbers = Numbers::float32;
  int64_t out = 0, in = 0;
  const float* scale = nullptr;  ///< of codes

  /// Throws RunError where `weight` is not a contiguous [out, in] of those types on the CPU.
  static MatrixView of(const Tensor& weight, const Tensor& scale = {});
};

/// y[m, :] = x[m, :] W^T + bias, or += where `add`; sums in float32. x [rows, in] and y [rows, out] have rows
/// `x_stride` and `y_stride` floats apart; bias [out] may be null.
void decode_linear(const float* x, int64_t x_stride, int64_t rows, const MatrixView& weight, const float* bias,
                   float* y, int64_t y_stride, bool add = false);

}  // namespace rft::ops
