#pragma once
/// Causal attention of ragged rows that lie end to end, without padding, on a GPU.
#include "rft/core/tensor.h"

namespace rft {

/// Rows of `heads` that attend to each other.
struct PackedRows {
  Tensor starts;        ///< [B + 1] int32, on the device: row b's tokens are starts[b] .. starts[b + 1] - 1
  int64_t longest = 0;  ///< tokens
};

struct PackedAttention {
  int64_t heads = 0, kv_heads = 0;  ///< heads is a multiple of kv_heads
  double scale = 0;                 ///< of the scores; 0: 1 / sqrt(head_dim)
  int64_t window = 0;               ///< a token sees so many positions, itself the last; 0: all before it
};

/// Whether packed_attention() takes it: half precision on a GPU, head_dim at most 256 and a multiple of 8.
bool can_attend_packed(const Tensor& heads);

/// heads [N, H + 2 K, hd] holds q, then k, then v; gives [N, H * hd], with gradients. FlashAttention-2 (Dao 2023,
/// arXiv:2307.08691), as LibTorch has it.
Tensor packed_attention(const Tensor& heads, const PackedRows& rows, const PackedAttention& shape);

}  // namespace rft
