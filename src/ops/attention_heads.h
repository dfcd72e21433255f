#pragma once
/// One head's attention, as the kernels of every instruction set take it. Columns lie side by side; 1 thread.
#include <cstdint>

namespace rft::ops {

struct HeadForward {
  const float *q, *k, *v;  ///< [queries, head_dim], [keys, head_dim] twice; rows `*_stride` floats apart
  int64_t q_stride, k_stride, v_stride;
  int64_t queries, keys, head_dim;
  float scale;
  float* out;  ///< [queries, head_dim], rows out_stride apart
  int64_t out_stride;
  float* log_total;  ///< [queries]: log2 of the softmax's denominator, for the backward pass
};

struct HeadBackward {
  const float *q, *k, *v, *up;  ///< as above and the output's gradient, rows head_dim apart
  int64_t queries, keys, head_dim;
  float scale;
  const float *log_total, *inner;  ///< [queries]; inner: the output times its gradient, summed
  float *dq, *dk, *dv;
  int64_t dq_stride, dk_stride, dv_stride;
};

/// The functions work on `wide` queries (or keys) from `first` on.
struct AttentionKernels {
  int64_t wide, block_rows;
  void (*forward)(const HeadForward& head, int64_t first, float* memory);
  void (*queries_backward)(const HeadBackward& head, int64_t first, float* memory);  ///< dq
  void (*keys_backward)(const HeadBackward& head, int64_t first, float* memory);     ///< dk and dv

  /// Floats at `memory`.
  int64_t memory(int64_t head_dim) const { return (4 * head_dim + 2 * block_rows) * wide; }
};

}  // namespace rft::ops
