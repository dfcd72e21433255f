/// The inner part of gemm(): 14 x 32 outputs in 28 of the 32 AVX-512 registers.
#ifdef __x86_64__
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "ops/gemm.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif
#ifdef RFT_LANES
#error "a file of one instruction set is compiled by itself"
#endif
#define RFT_LANES 16
#include "ops/decode_simd.h"

namespace rft::ops {
namespace {

template <int rows>
void tile_of(const GemmTile& t) {
  Vec sum[rows][2] = {};
  const float *a = t.a, *b = t.b;
  for (int64_t k = 0; k < t.k; ++k, a += kTileStride, b += kPanel) {
    const Vec low = load(b), high = load(b + kLanes);
#pragma GCC unroll 16  // or the sums would lie in memory
    for (int i = 0; i < rows; ++i) {
      const Vec x = splat(a[i]);
      sum[i][0] += x * low;
      sum[i][1] += x * high;
    }
  }
  float bias[kPanel] = {}, edge[kPanel] = {};
  if (t.bias && !t.add) std::copy_n(t.bias, t.columns, bias);
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    float* out = t.c + i * t.c_stride;
    float* to = t.columns == kPanel ? out : edge;
    if (to == edge && t.add) std::copy_n(out, t.columns, edge);
    const float* base = t.add ? to : bias;
    store(to, load(base) + t.scale * sum[i][0]);
    store(to + kLanes, load(base + kLanes) + t.scale * sum[i][1]);
    if (to == edge) std::copy_n(edge, t.columns, out);
  }
}

template <int... rows>
constexpr auto tiles_of(std::integer_sequence<int, rows...>) {
  return std::array{&tile_of<rows + 1>...};
}

/// 16 lanes and 16 columns of a matrix whose columns lie side by side.
RFT_INLINE void transpose_block(const float* data, int64_t stride, int64_t lanes, float* out, int64_t width) {
  Vec x[16];
#pragma GCC unroll 16
  for (int64_t i = 0; i < 16; ++i) x[i] = i < lanes ? load(data + i * stride) : Vec{};
  transpose(x);
#pragma GCC unroll 16
  for (int64_t j = 0; j < 16; ++j) store(out + j * width, x[j]);
}

}  // namespace

void gemm_tile_avx512(const GemmTile& tile) {
  static constexpr auto tiles = tiles_of(std::make_integer_sequence<int, kTileRows>());
  tiles[static_cast<size_t>(tile.rows - 1)](tile);
}

void gemm_pack_avx512(const float* data, int64_t stride, int64_t step, int64_t lanes, int64_t k, int64_t width,
                      float* out) {
  int64_t done = 0;
  if (step == 1) {
    for (; done + 16 <= k; done += 16)
      for (int64_t i = 0; i < width; i += 16)
        transpose_block(data + i * stride + done, stride, lanes - i, out + done * width + i, width);
  } else if (stride == 1 && lanes == width) {
    for (; done < k; ++done)
      for (int64_t i = 0; i < width; i += 16) store(out + done * width + i, load(data + done * step + i));
  }
  for (; done < k; ++done)
    for (int64_t i = 0; i < width; ++i) out[done * width + i] = i < lanes ? data[i * stride + done * step] : 0.f;
}

}  // namespace rft::ops
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
