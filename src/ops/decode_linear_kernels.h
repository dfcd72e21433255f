/// y = x W^T for few rows of x: every weight is read from memory once.
#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include "ops/decode_kernels.h"
#include "ops/decode_simd.h"
#include "ops/quantized_rows.h"

namespace rft::ops {
namespace {

/// Up to so many rows of x, dot tiles; beyond, outer tiles are faster although they round rows up to kLanes (measured).
constexpr int kDotRows = 4;
/// Vectors of x rows that one outer tile takes.
constexpr int kOuterVectors = kLanes == 16 ? 4 : 2;

/// Weight rows of a tile, so that the accumulators fit the registers (32 of AVX-512, else 16).
constexpr int dot_outputs(int rows) {
  constexpr int budget = kLanes == 16 ? 24 : 8;
  return std::min(8, budget / rows);
}
/// A divisor of kLanes.
constexpr int outer_outputs(int vectors) { return kLanes == 16 && vectors < 4 ? 8 : 4; }

/// out[r * M + m] = dot(w row r, x row m); lanes run along `in`.
template <int R, int M, class W>
RFT_INLINE void dot_tile(const float* x, int64_t x_stride, const W* w, int64_t in, float* out) {
  Vec acc[R][M] = {};
  int64_t k = 0;
  for (; k + kLanes <= in; k += kLanes) {
    Vec weight[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      weight[r] = load(w + r * in + k);
      __builtin_prefetch(w + (R + r) * in + k);  // the next tile: rows are too short for the hardware to run ahead
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec value = load(x + m * x_stride + k);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r][m] += weight[r] * value;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) out[r * M + m] = sum(acc[r][m]);
  }
  for (; k < in; ++k) {
    for (int r = 0; r < R; ++r) {
      for (int m = 0; m < M; ++m) out[r * M + m] += widen(w[r * in + k]) * x[m * x_stride + k];
    }
  }
}

/// Writes a tile [outputs][rows] to y[0 .. rows)[first ..).
RFT_INLINE void write_tile(const LinearArgs& a, const float* tile, int outputs, int rows, int64_t first) {
  for (int m = 0; m < rows; ++m) {
    float* y = a.y + m * a.y_stride + first;
    for (int r = 0; r < outputs; ++r) {
      float value = tile[r * rows + m];
      if (a.weight_int8) value *= a.scale[first + r];
      if (a.bias) value += a.bias[first + r];
      y[r] = a.add ? y[r] + value : value;
    }
  }
}

template <int M, class W>
void dot_rows(const LinearArgs& a, const W* weight, int64_t first, int64_t last) {
  constexpr int R = dot_outputs(M);
  float tile[R * M];
  int64_t o = first;
  for (; o + R <= last; o += R) {
    dot_tile<R, M>(a.x, a.x_stride, weight + o * a.in, a.in, tile);
    write_tile(a, tile, R, M, o);
  }
  for (; o < last; ++o) {
    dot_tile<1, M>(a.x, a.x_stride, weight + o * a.in, a.in, tile);
    write_tile(a, tile, 1, M, o);
  }
}

template <class W>
void dot_linear(const LinearArgs& a, const W* weight, int64_t first, int64_t last) {
  switch (a.rows) {
    case 1:
      dot_rows<1>(a, weight, first, last);
      break;
    case 2:
      dot_rows<2>(a, weight, first, last);
      break;
    case 3:
      dot_rows<3>(a, weight, first, last);
      break;
    case 4:
      dot_rows<4>(a, weight, first, last);
      break;
  }
}

/// Products are summed in strips of so many, so that rounding errors grow with the number of strips alone.
constexpr int64_t kStrip = 256;

/// acc[r][v] += w[r][k] * x row; xt [in, V * kLanes] holds the rows of x transposed.
template <int R, int V>
RFT_INLINE void outer_products(Vec (&acc)[R][V], const float* xt, const float* w, int64_t stride, int64_t first,
                               int64_t last) {
  for (int64_t k = first; k < last; ++k) {
    Vec value[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) value[v] = load(xt + (k * V + v) * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec weight = splat(w[r * stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] += weight * value[v];
    }
  }
}

/// tile[r][m] = dot(w row r, x row m); lanes run along the rows of x.
template <int R, int V>
RFT_INLINE void outer_tile(const float* xt, const float* w, int64_t in, const char* next, float* tile) {
  for (int64_t start = 0; start < in; start += kStrip) {
    Vec acc[R][V] = {};
    const int64_t end = std::min(in, start + kStrip);
    for (int64_t k = start; k < end; k += 16) {
      for (int r = 0; r < R; ++r) __builtin_prefetch(next + (r * in + k) * 4);
      outer_products<R, V>(acc, xt, w, in, k, std::min(end, k + 16));
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        float* sum = tile + (r * V + v) * kLanes;
        store(sum, start == 0 ? acc[r][v] : load(sum) + acc[r][v]);
      }
    }
  }
}

/// Writes a tile [kLanes, V * kLanes], of which `outputs` rows and `rows` columns count, to y[row0 ..)[first ..).
template <int V>
RFT_INLINE void write_transposed(const LinearArgs& a, const float* tile, int64_t outputs, int64_t row0, int64_t rows,
                                 int64_t first) {
  for (int v = 0; v < V && v * kLanes < rows; ++v) {
    Vec part[kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) part[r] = load(tile + (r * V + v) * kLanes);
    transpose(part);
    const Vec scale = !a.weight_int8      ? splat(1)
                      : outputs == kLanes ? load(a.scale + first)
                                          : load_some(a.scale + first, outputs, 0);
    const Vec bias = !a.bias ? Vec{} : outputs == kLanes ? load(a.bias + first) : load_some(a.bias + first, outputs, 0);
    for (int64_t m = 0; m < std::min<int64_t>(kLanes, rows - v * kLanes); ++m) {
      float* y = a.y + (row0 + v * kLanes + m) * a.y_stride + first;
      const Vec value = part[m] * scale + bias;
      if (outputs == kLanes) {
        store(y, a.add ? load(y) + value : value);
      } else {
        store_some(y, a.add ? load_some(y, outputs, 0) + value : value, outputs);
      }
    }
  }
}

/// What unpack_nf4() writes, some lanes at a time.
RFT_INLINE void unpack_row(const uint8_t* codes, const float* scale, int64_t in, float* out) {
#if RFT_LANES > 4
  const __m128i low_half = _mm_set1_epi8(15);
  for (int64_t k = 0; k < in; k += 16) {
    int64_t bytes;
    std::memcpy(&bytes, codes + k / 2, 8);
    const __m128i both = _mm_cvtsi64_si128(bytes);
    const __m128i nibbles = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(both, 4), low_half),
                                              _mm_and_si128(both, low_half));  // 16 codes in order
    const Vec s = splat(scale[k / 64]);
#if RFT_LANES == 16
    const __m512 level = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(nibbles), _mm512_loadu_ps(kNf4Levels));
    store(out + k, (Vec)level * s);
#else
    const __m256 first = _mm256_loadu_ps(kNf4Levels), second = _mm256_loadu_ps(kNf4Levels + 8);
    for (int half = 0; half < 2; ++half) {
      const __m256i index = _mm256_cvtepu8_epi32(half ? _mm_srli_si128(nibbles, 8) : nibbles);
      const __m256 level =
          _mm256_blendv_ps(_mm256_permutevar8x32_ps(first, index), _mm256_permutevar8x32_ps(second, index),
                           _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
      store(out + k + 8 * half, (Vec)level * s);
    }
#endif
  }
#else
  unpack_nf4(codes, scale, in, out);
#endif
}

/// Weight rows [o, o + count) as float32; those of int8 without their scale.
RFT_INLINE const float* float_rows(const LinearArgs& a, int64_t o, int64_t count, std::vector<float>& buffer) {
  if (a.weight_float) return a.weight_float + o * a.in;
  buffer.resize(static_cast<size_t>(kLanes * a.in));
  if (a.weight_int8) {
    const int8_t* codes = a.weight_int8 + o * a.in;
    const int64_t numbers = count * a.in;
    int64_t k = 0;
    for (; k + kLanes <= numbers; k += kLanes) store(buffer.data() + k, load(codes + k));
    for (; k < numbers; ++k) buffer[static_cast<size_t>(k)] = widen(codes[k]);
    return buffer.data();
  }
  if (a.weight_nf4) {
    for (int64_t r = 0; r < count; ++r)
      unpack_row(a.weight_nf4 + (o + r) * a.in / 2, a.scale + (o + r) * (a.in / 64), a.in, buffer.data() + r * a.in);
    return buffer.data();
  }
  const uint16_t* from = a.weight_bfloat + o * a.in;
  const int64_t n = count * a.in;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    if (i % 32 == 0) __builtin_prefetch(from + n + i);
    store(buffer.data() + i, load(from + i));
  }
  for (; i < n; ++i) buffer[static_cast<size_t>(i)] = widen(from[i]);
  return buffer.data();
}

template <int V>
void outer_rows(const LinearArgs& a, const float* xt, int64_t row0, int64_t rows, int64_t first, int64_t last,
                std::vector<float>& buffer) {
  constexpr int R = outer_outputs(V);
  alignas(64) float tile[kLanes * V * kLanes];
  for (int64_t o = first; o < last; o += kLanes) {
    const int64_t outputs = std::min<int64_t>(kLanes, last - o);
    const float* w = float_rows(a, o, outputs, buffer);
    const auto* next = reinterpret_cast<const char*>(w + kLanes * a.in);
    int64_t r = 0;
    for (; r + R <= outputs; r += R) {
      outer_tile<R, V>(xt, w + r * a.in, a.in, next + r * a.in * 4, tile + r * V * kLanes);
    }
    for (; r < outputs; ++r) {
      outer_tile<1, V>(xt, w + r * a.in, a.in, next + r * a.in * 4, tile + r * V * kLanes);
    }
    write_transposed<V>(a, tile, outputs, row0, rows, o);
  }
}

/// xt[k][m] = x[row0 + m][k], zero for m >= rows.
void transpose_rows(const LinearArgs& a, int64_t row0, int64_t rows, int64_t width, float* xt) {
  for (int64_t m0 = 0; m0 < width; m0 += kLanes) {
    for (int64_t k = 0; k < a.in; k += kLanes) {
      const int64_t count = std::min<int64_t>(kLanes, a.in - k);
      Vec block[kLanes];
      for (int m = 0; m < kLanes; ++m) {
        const float* x = a.x + (row0 + m0 + m) * a.x_stride + k;
        block[m] = m0 + m >= rows ? Vec{} : count == kLanes ? load(x) : load_some(x, count, 0);
      }
      transpose(block);
      for (int64_t i = 0; i < count; ++i) store(xt + (k + i) * width + m0, block[i]);
    }
  }
}

void outer_linear(const LinearArgs& a, int64_t first, int64_t last) {
  static thread_local std::vector<float> transposed, widened;
  constexpr int64_t most = kOuterVectors * kLanes;
  transposed.resize(static_cast<size_t>(a.in * most));
  for (int64_t row = 0; row < a.rows; row += most) {
    const int64_t rows = std::min(most, a.rows - row);
    const int64_t vectors = (rows + kLanes - 1) / kLanes;
    transpose_rows(a, row, rows, vectors * kLanes, transposed.data());
    switch (vectors) {
      case 1:
        outer_rows<1>(a, transposed.data(), row, rows, first, last, widened);
        break;
      case 2:
        outer_rows<2>(a, transposed.data(), row, rows, first, last, widened);
        break;
#if RFT_LANES == 16
      case 3:
        outer_rows<3>(a, transposed.data(), row, rows, first, last, widened);
        break;
      case 4:
        outer_rows<4>(a, transposed.data(), row, rows, first, last, widened);
        break;
#endif
    }
  }
}

/// Few rows of x, nf4 codes: some weight rows at a time are unpacked, and stay in the cache.
void dot_unpacked(const LinearArgs& a, int64_t first, int64_t last) {
  static thread_local std::vector<float> unpacked;
  for (int64_t o = first; o < last; o += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, last - o);
    LinearArgs part = a;
    part.y = a.y + o, part.bias = a.bias ? a.bias + o : nullptr;
    dot_linear(part, float_rows(a, o, count, unpacked), 0, count);
  }
}

void linear(const LinearArgs& a, int64_t first, int64_t last) {
  if (a.rows > kDotRows) return outer_linear(a, first, last);
  if (a.weight_float) return dot_linear(a, a.weight_float, first, last);
  if (a.weight_bfloat) return dot_linear(a, a.weight_bfloat, first, last);
  if (a.weight_int8) return dot_linear(a, a.weight_int8, first, last);
  dot_unpacked(a, first, last);
}

}  // namespace
}  // namespace rft::ops
