#include "rft/ops/decode_layer.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "ops/decode_kernels.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

/// Rows that make waking a thread worth it.
int64_t row_grain(int64_t width) { return std::max<int64_t>(1, (int64_t{1} << 13) / width); }

void activate(Activation activation, float* x, int64_t n) {
  switch (activation) {
    case Activation::silu:
      decode_kernels().silu(x, n);
      break;
    case Activation::gelu_erf:
      decode_kernels().gelu_erf(x, n);
      break;
    case Activation::gelu_tanh:
      decode_kernels().gelu_tanh(x, n);
      break;
    case Activation::relu:
      for (int64_t i = 0; i < n; ++i) x[i] = std::max(x[i], 0.f);
      break;
  }
}

}  // namespace

void decode_norm(const float* x, int64_t rows, int64_t dim, const float* weight, const float* bias, double eps,
                 float* y) {
  const DecodeKernels& kernels = decode_kernels();
  at::parallel_for(0, rows, row_grain(dim), [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      if (bias) {
        kernels.layer_norm(x + n * dim, weight, bias, static_cast<float>(eps), dim, y + n * dim);
      } else {
        kernels.rms_norm(x + n * dim, weight, static_cast<float>(eps), dim, y + n * dim);
      }
    }
  });
}

void rotate_heads(float* x, int64_t heads, int64_t head_dim, int64_t turning, const float* cos, const float* sin) {
  const int64_t half = turning / 2;
  for (int64_t head = 0; head < heads; ++head) {
    float *low = x + head * head_dim, *high = low + half;
    for (int64_t d = 0; d < half; ++d) {
      const float a = low[d], b = high[d];
      low[d] = a * cos[d] - b * sin[d];
      high[d] = b * cos[d] + a * sin[d];
    }
  }
}

Activation activation_of(const std::string& name) {
  if (name == "silu") return Activation::silu;
  if (name == "gelu") return Activation::gelu_erf;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  run_failed("decode_activation", "an activation is one of silu, gelu, gelu_new, relu; got ", name);
}

void decode_activation(Activation activation, float* x, int64_t rows, int64_t width) {
  at::parallel_for(0, rows, row_grain(width * 4), [&](int64_t first, int64_t last) {
    activate(activation, x + first * width, (last - first) * width);
  });
}

void decode_gated_activation(Activation activation, float* x, int64_t rows, int64_t width, float* y) {
  const DecodeKernels& kernels = decode_kernels();
  at::parallel_for(0, rows, row_grain(width * 4), [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      float *gate = x + n * 2 * width, *up = gate + width, *out = y + n * width;
      if (activation == Activation::silu) {
        kernels.gated_silu(gate, up, width, out);
        continue;
      }
      activate(activation, gate, width);
      for (int64_t i = 0; i < width; ++i) out[i] = gate[i] * up[i];
    }
  });
}

}  // namespace rft::ops
