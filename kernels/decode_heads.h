#pragma once
/// A head's query, key or value of a new token: normed, rotated, and put where attention reads it. A warp does one
/// head.
#include "kernels/decode_attention.h"
#include "kernels/device.h"

namespace rft::kernels {

/// So many pages of a sequence are one block's: two a warp, until that makes too many parts.
RFT_HOST_DEVICE int pages_of_split(int pages) { return pages <= 512 ? 32 : (pages + 15) / 16; }

/// What one token attends to: positions first .. length - 1, in pages first_page ..., `per` of which a split takes.
struct Visible {
  int first, length, first_page, per, splits;
};
RFT_HOST_DEVICE Visible visible_at(int position, int window) {
  Visible v;
  v.length = position + 1;
  v.first = window > 0 && v.length > window ? v.length - window : 0;
  v.first_page = v.first / kPagePositions;
  const int pages = (v.length + kPagePositions - 1) / kPagePositions - v.first_page;
  v.per = pages_of_split(pages);
  v.splits = (pages + v.per - 1) / v.per;
  return v;
}

/// Head `index` of a token's [q heads, k heads, v heads].
__device__ __forceinline__ float head_number(const DecodeAttention& a, int token, int index, int d) {
  const int64_t at = (int64_t{token} * (a.heads + 2 * a.kv_heads) + index) * a.head_dim + d;
  if (a.qkv_float) return static_cast<const float*>(a.qkv)[at];
  return a.pages_float ? static_cast<const float*>(a.qkv)[at] : to_float(static_cast<const bf16*>(a.qkv)[at]);
}
__device__ __forceinline__ float norm_number(const DecodeAttention& a, const void* weight, int d) {
  return a.pages_float ? static_cast<const float*>(weight)[d] : to_float(static_cast<const bf16*>(weight)[d]);
}

/// row [padded head] = the head, normed where `norm` is given, rotated where `rotate`, with zeros behind it. All lanes
/// of a warp.
__device__ inline void prepare_head(const DecodeAttention& a, int token, int index, const void* norm, bool rotate,
                                    int position, float* row) {
  const int lane = static_cast<int>(threadIdx.x) % 32, padded = padded_head(a.head_dim);
  float squares = 0;
  for (int d = lane; d < padded; d += 32) {
    const float x = d < a.head_dim ? head_number(a, token, index, d) : 0.0f;
    row[d] = x, squares += x * x;
  }
  if (norm) {
    const float scale = rsqrtf(warp_sum(squares) / static_cast<float>(a.head_dim) + a.norm_eps);
    for (int d = lane; d < a.head_dim; d += 32) row[d] *= scale * norm_number(a, norm, d);
  }
  __syncwarp();
  if (!rotate || !a.inv_freq) return;
  const int half = a.turning / 2;
  for (int d = lane; d < half; d += 32) {
    float sine, cosine;
    sincosf(a.inv_freq[d] * static_cast<float>(position), &sine, &cosine);
    sine *= a.rope_scale, cosine *= a.rope_scale;
    const float x = row[d], y = row[d + half];
    row[d] = x * cosine - y * sine, row[d + half] = y * cosine + x * sine;
  }
  __syncwarp();
}

/// The keys of a page's head, [32][padded head]; the values, [padded head][32], lie behind all heads' keys.
template <class T>
__device__ __forceinline__ T* page_keys(const DecodeAttention& a, int page, int kv_head) {
  return static_cast<T*>(a.pages) + page * a.page_stride + int64_t{kv_head} * kPagePositions * padded_head(a.head_dim);
}
template <class T>
__device__ __forceinline__ T* page_values(const DecodeAttention& a, int page, int kv_head) {
  return page_keys<T>(a, page, a.kv_heads + kv_head);
}

__device__ __forceinline__ const int* pages_of(const DecodeAttention& a, int token) {
  return a.table + int64_t{a.row ? a.row[token] : token} * a.table_width;
}

/// Stores a prepared key or value at the token's position. All lanes of a warp.
template <class T>
__device__ void store_head(const DecodeAttention& a, int token, int position, int kv_head, bool value,
                           const float* row) {
  const int page = pages_of(a, token)[position / kPagePositions], at = position % kPagePositions;
  const int padded = padded_head(a.head_dim);
  T* to = value ? page_values<T>(a, page, kv_head) + at : page_keys<T>(a, page, kv_head) + at * padded;
  for (int d = static_cast<int>(threadIdx.x) % 32; d < padded; d += 32)
    to[value ? d * kPagePositions : d] = from_float<T>(row[d]);
}

int decode_attention_float(const DecodeAttention& a, void* stream);  ///< its part for float32 pages

}  // namespace rft::kernels
