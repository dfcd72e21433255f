#pragma once
/// AdamW over a flat run of numbers: moments, float32 master copy and narrow weights in one pass.
#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"

namespace rft::kernels {

enum class NumberType : int;

struct AdamW {
  float lr, beta1, beta2, weight_decay, eps;
  float correction1, correction2_root;  ///< 1 - beta1^step, sqrt(1 - beta2^step)
};

/// One number's step, PyTorch's order of operations (torch.optim.AdamW, fused).
RFT_HOST_DEVICE void adamw_step(const AdamW& o, float g, float& weight, float& mean, float& square) {
  weight -= o.lr * o.weight_decay * weight;
  mean = mean + (1.0f - o.beta1) * (g - mean);
  square = o.beta2 * square + (1.0f - o.beta2) * g * g;
  weight -= o.lr / o.correction1 * mean / (sqrtf(square) / o.correction2_root + o.eps);
}

/// gradient [n] of `type`; master, mean, square [n] float32, updated. narrow [n] of `type` gets the new weights unless
/// it is null. Returns a cudaError_t, 0 = success.
int adamw(const void* gradient, NumberType type, const AdamW& options, int64_t n, float* master, float* mean,
          float* square, void* narrow, void* stream);

}  // namespace rft::kernels
