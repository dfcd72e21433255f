/// The decoding kernels for AVX-512.
#ifdef __x86_64__
#include <immintrin.h>

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

// The library headers above stay outside: their inline functions are shared with files for other CPUs.
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif
#ifdef RFT_LANES
#error "a file of one instruction set is compiled by itself"
#endif
#define RFT_LANES 16
#include "ops/attention_kernels.h"
#include "ops/decode_attention_kernels.h"
#include "ops/decode_layer_kernels.h"
#include "ops/decode_linear_kernels.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace rft::ops {

const DecodeKernels& avx512_kernels() {
  static const DecodeKernels kernels{"avx512",   std::numeric_limits<int64_t>::max(),
                                     linear,     attend,
                                     rms_norm,   layer_norm,
                                     gated_silu, gated_silu_gradient,
                                     gelu_tanh,  gelu_erf,
                                     silu,       exp_sums,
                                     row_max,    kAttention};
  return kernels;
}

}  // namespace rft::ops
#endif
