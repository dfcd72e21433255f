#pragma once
/// y = silu(gate) up of N rows [gate | up], W numbers each, with its gradient. Shazeer 2020, arXiv:2002.05202.
#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"

namespace rft::kernels {

enum class NumberType : int;

RFT_HOST_DEVICE float silu(float x) { return x / (1.0f + expf(-x)); }
/// d silu(x) / dx.
RFT_HOST_DEVICE float silu_slope(float x) {
  const float s = 1.0f / (1.0f + expf(-x));
  return s * (1.0f + x * (1.0f - s));
}

/// x [N, 2 W] -> y [N, W]. Returns a cudaError_t, 0 = success.
int swiglu_forward(const void* x, NumberType type, int64_t rows, int64_t width, void* y, void* stream);
/// dy [N, W], x [N, 2 W] -> dx [N, 2 W].
int swiglu_backward(const void* dy, const void* x, NumberType type, int64_t rows, int64_t width, void* dx,
                    void* stream);

}  // namespace rft::kernels
