#pragma once
/// Attention of new tokens over paged keys and values. Query head h reads key/value head h / (heads / kv_heads). Sums
/// are split by a sequence's length alone, so that a token gets the same numbers whatever else is in the batch.
#include <cstdint>

#include "kernels/decode_linear.h"
#include "kernels/host_device.h"

namespace rft::kernels {

constexpr int kPagePositions = 32;

/// Numbers that a head takes up in the cache.
RFT_HOST_DEVICE constexpr int padded_head(int head_dim) { return (head_dim + 31) / 32 * 32; }
/// Numbers of one layer of a page: keys [kv_heads][32][padded head], then values [kv_heads][padded head][32], so that
/// both are read as the tensor cores want them.
RFT_HOST_DEVICE constexpr int64_t page_layer_numbers(int kv_heads, int head_dim) {
  return int64_t{2} * kv_heads * kPagePositions * padded_head(head_dim);
}

struct DecodeAttention {
  const void* qkv = nullptr;      ///< [N, (heads + 2 kv_heads) head_dim]: before rotation
  bool qkv_float = true;          ///< else of the pages' type
  bool pages_float = false;       ///< else bfloat16
  void* pages = nullptr;          ///< [pages][layers][page_layer_numbers]; this layer's of page 0
  int64_t page_stride = 0;        ///< numbers from a page to the next
  const int* table = nullptr;     ///< [rows, table_width]: pages of each sequence
  const int* row = nullptr;       ///< [N]: the token's sequence; null: token n is of sequence n
  const int* position = nullptr;  ///< [N]; negative: there is no such token
  const void* q_norm = nullptr;   ///< [head_dim] in the pages' type, or null
  const void* k_norm = nullptr;
  const float* inv_freq = nullptr;  ///< [turning / 2], or null
  int turning = 0;                  ///< leading numbers of a head that are rotated
  float rope_scale = 1;             ///< of cos and sin
  float norm_eps = 0;
  float scale = 1;    ///< of q k
  float softcap = 0;  ///< scores are softcap tanh(scale q k / softcap); 0: as they are
  int window = 0;     ///< a token sees so many positions, itself the last; 0: all
  int tokens = 0, heads = 0, kv_heads = 0, head_dim = 0, table_width = 0;
  int splits = 1;          ///< most parts of a sequence, attention_splits() of the longest
  bool append = true;      ///< k and v of the tokens go to their pages first; else they are there
  void* out = nullptr;     ///< [N, heads head_dim] in the pages' type
  float* parts = nullptr;  ///< attention_parts() floats, where splits > 1
  int* arrived = nullptr;  ///< [N heads], zeros; zeros again afterwards
};

/// Parts of a sequence of `length` positions that blocks attend to by themselves.
int attention_splits(int length);
int64_t attention_parts(int tokens, int heads, int head_dim, int splits);

/// Returns a cudaError_t, 0 = success. head_dim is even and at most 256.
int decode_attention(const DecodeAttention& a, void* stream);

/// Only rotates, and stores k and v of every token: for several new tokens of a sequence, in front of
/// decode_attention() without `append`.
int decode_append(const DecodeAttention& a, void* stream);

}  // namespace rft::kernels
