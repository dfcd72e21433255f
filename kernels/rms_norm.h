#pragma once
/// Root-mean-square norm of N rows of D numbers, with its gradient. Sums in float32; half precision is rounded before
/// the weight is applied, as transformers does it.
#include <cstdint>

#include "kernels/host_device.h"

namespace rft::kernels {

enum class NumberType : int;

/// d(loss)/dx of one number: g = dy weight, x hat = x scale, `along` = mean(g x hat) over the row.
RFT_HOST_DEVICE float rms_norm_gradient(float g, float x, float scale, float along) {
  return scale * (g - x * scale * along);
}

/// y [N, D], scale [N] = 1 / sqrt(mean(x^2) + eps). Returns a cudaError_t, 0 = success.
int rms_norm_forward(const void* x, const void* weight, NumberType type, float eps, int64_t rows, int64_t size, void* y,
                     float* scale, void* stream);

/// dx [N, D]; and, where not null, partial [parts, D] float32, whose sum over the parts is the weight's gradient.
int rms_norm_backward(const void* dy, const void* x, const void* weight, NumberType type, const float* scale,
                      int64_t rows, int64_t size, void* dx, float* partial, int64_t parts, void* stream);

}  // namespace rft::kernels
