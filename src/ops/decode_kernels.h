#pragma once
/// The decoding kernels of one instruction set. Plain pointers, one thread; decode_*.cpp divide the work.
#include <cstdint>
#include <string>
#include <vector>

#include "ops/attention_heads.h"

namespace rft::ops {

struct LinearArgs {
  const float* x;  ///< [rows, in], `x_stride` apart
  int64_t rows, x_stride, in;
  const float* weight_float;      ///< [out, in]; else
  const uint16_t* weight_bfloat;  ///< [out, in] bfloat16; else
  const int8_t* weight_int8;      ///< [out, in] codes, with scale [out]; else
  const uint8_t* weight_nf4;      ///< [out, in / 2] codes, with scale [out, in / 64]
  const float* scale;
  const float* bias;              ///< [out] or null
  float* y;                       ///< [rows, out], `y_stride` apart
  int64_t y_stride;
  bool add;  ///< y += instead of y =
};

struct AttendArgs {
  const float* q;  ///< query i at q + q_offset[i]
  float* out;      ///< output i at out + out_offset[i]
  const int64_t *q_offset, *out_offset;
  const int64_t* visible;  ///< query i sees the positions before visible[i] >= 1
  const int64_t* first;    ///< from first[i] < visible[i] on
  int64_t queries, head_dim;
  float scale;
  float softcap;               ///< 0: none
  const float* const* keys;    ///< a page's keys of one head: [kv_page / kv_block][head_dim][kv_block]
  const float* const* values;  ///< a page's values of one head: [kv_page][padded head_dim]
  const int64_t* counts;       ///< positions used of each page
  int64_t pages;
};

/// Of softmax(logits * scale): sums of exp(scale * (logit - max)).
struct ExpSums {
  float max = 0;
  double total = 0;     ///< sum of e
  double weighted = 0;  ///< sum of e * scale * (logit - max)
};

constexpr int64_t kSumBlock = 256;  ///< logits that share one partial sum

struct DecodeKernels {
  std::string name;
  /// From so many rows on, at::linear is faster with float32 weights (measured on x86 against MKL).
  int64_t library_rows;
  /// Output columns [first, last).
  void (*linear)(const LinearArgs& args, int64_t first, int64_t last);
  void (*attend)(const AttendArgs& args);
  /// y = x / sqrt(mean(x^2) + eps) * weight
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);
  /// y = silu(gate) * up
  void (*gated_silu)(const float* gate, const float* up, int64_t n, float* y);
  /// its gradient, for training
  void (*gated_silu_gradient)(const float* gate, const float* up, const float* dy, int64_t n, float* dgate, float* dup);
  /// x = activation(x)
  void (*gelu_tanh)(float* x, int64_t n);
  void (*gelu_erf)(float* x, int64_t n);
  void (*silu)(float* x, int64_t n);
  /// block_sums [ceil(n / kSumBlock)]
  ExpSums (*exp_sums)(const float* logits, int64_t n, float scale, double* block_sums);
  float (*max)(const float* x, int64_t n);
  AttentionKernels attention;
};

/// The sets that this CPU runs, fastest first; the last is portable.
const std::vector<const DecodeKernels*>& decode_kernel_sets();
/// The set in use: the first of decode_kernel_sets() unless another was chosen.
const DecodeKernels& decode_kernels();
/// Chooses a set for the whole process. Tests run every set this way; not for use while others decode.
void use_decode_kernels(const DecodeKernels& kernels);

const DecodeKernels& avx512_kernels();
const DecodeKernels& avx2_kernels();
const DecodeKernels& portable_kernels();

}  // namespace rft::ops
