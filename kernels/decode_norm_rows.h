#pragma once
/// The norm in front of a product (StreamNorm), for a block of kNormThreads threads. The same order of additions
/// wherever it is used.
#include "kernels/decode_linear.h"
#include "kernels/device.h"

namespace rft::kernels {

constexpr int kNormThreads = 256;

/// stream + parts at (row, k .. k + 3).
__device__ __forceinline__ float4 stream_at(const StreamNorm& n, int row, int k, int tokens, int inner) {
  const int64_t at = int64_t{row} * inner + k, size = int64_t{tokens} * inner;
  float4 s = *reinterpret_cast<const float4*>(n.stream + at);
  for (int p = 0; p < n.count; ++p) {
    if (n.parts_bf16) {
      auto v = *reinterpret_cast<const Pack<bf16, 4>*>(static_cast<const bf16*>(n.parts) + p * size + at);
      s.x += to_float(v.at[0]), s.y += to_float(v.at[1]), s.z += to_float(v.at[2]), s.w += to_float(v.at[3]);
    } else {
      float4 v = *reinterpret_cast<const float4*>(static_cast<const float*>(n.parts) + p * size + at);
      s.x += v.x, s.y += v.y, s.z += v.z, s.w += v.w;
    }
  }
  return s;
}

__device__ __forceinline__ bf16 normed(float s, float scale, bf16 weight) {
  return from_float<bf16>(to_float(from_float<bf16>(s * scale)) * to_float(weight));
}

/// Hands the normed rows first .. first + rows - 1 to store(row, k, four numbers). `scratch` [rows][8]. Writes n.sum
/// where `write_sum`. Every thread of the block calls it; it does not synchronise behind the last store.
template <class Store>
__device__ void norm_rows(const StreamNorm& n, int first, int rows, int tokens, int inner, bool write_sum,
                          float* scratch, const Store& store) {
  constexpr int kWarps = kNormThreads / 32;
  const int thread = static_cast<int>(threadIdx.x);
  for (int r = 0; r < rows; ++r) {
    float squares = 0;
    for (int k = 4 * thread; k < inner; k += 4 * kNormThreads) {
      const float4 s = stream_at(n, first + r, k, tokens, inner);
      squares += s.x * s.x + s.y * s.y + s.z * s.z + s.w * s.w;
      if (write_sum) *reinterpret_cast<float4*>(n.sum + int64_t{first + r} * inner + k) = s;
    }
    squares = warp_sum(squares);
    if (thread % 32 == 0) scratch[r * kWarps + thread / 32] = squares;
  }
  __syncthreads();
  for (int r = 0; r < rows; ++r) {
    float squares = 0;
    for (int w = 0; w < kWarps; ++w) squares += scratch[r * kWarps + w];
    const float scale = rsqrtf(squares / static_cast<float>(inner) + n.eps);
    for (int k = 4 * thread; k < inner; k += 4 * kNormThreads) {
      const float4 s = stream_at(n, first + r, k, tokens, inner);
      auto w = *reinterpret_cast<const Pack<bf16, 4>*>(static_cast<const bf16*>(n.weight) + k);
      Pack<bf16, 4> y;
      y.at[0] = normed(s.x, scale, w.at[0]), y.at[1] = normed(s.y, scale, w.at[1]);
      y.at[2] = normed(s.z, scale, w.at[2]), y.at[3] = normed(s.w, scale, w.at[3]);
      store(r, k, y);
    }
  }
}

}  // namespace rft::kernels
