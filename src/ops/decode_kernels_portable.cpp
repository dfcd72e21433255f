/// The decoding kernels for any CPU.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "ops/decode_kernels.h"
#include "rft/ops/decode_attention.h"

#ifdef RFT_LANES
#error "a file of one instruction set is compiled by itself"
#endif
#define RFT_LANES 4
#include "ops/attention_kernels.h"
#include "ops/decode_attention_kernels.h"
#include "ops/decode_layer_kernels.h"
#include "ops/decode_linear_kernels.h"

namespace rft::ops {

const DecodeKernels& portable_kernels() {
  static const DecodeKernels kernels{
      "portable",          9,         linear,   attend, rms_norm, layer_norm, gated_silu,
      gated_silu_gradient, gelu_tanh, gelu_erf, silu,   exp_sums, row_max,    kAttention};
  return kernels;
}

}  // namespace rft::ops
