/// Vectors of RFT_LANES floats for the decoding kernels. Each decode_kernels_*.cpp defines RFT_LANES, turns its
/// instruction set on and includes the kernel bodies; everything here has internal linkage, so the sets don't mix.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

#ifndef RFT_LANES
#error "RFT_LANES is not defined"
#endif

#pragma GCC diagnostic ignored "-Wpsabi"
#define RFT_INLINE inline __attribute__((always_inline))

namespace rft::ops {
namespace {

constexpr int kLanes = RFT_LANES;

typedef float Vec __attribute__((vector_size(4 * RFT_LANES)));
typedef int32_t IntVec __attribute__((vector_size(4 * RFT_LANES)));
typedef uint32_t WordVec __attribute__((vector_size(4 * RFT_LANES)));
typedef uint16_t HalfVec __attribute__((vector_size(2 * RFT_LANES)));

RFT_INLINE Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

/// bfloat16 is the upper half of a float32.
RFT_INLINE Vec load(const uint16_t* p) {
  HalfVec half;
  std::memcpy(&half, p, sizeof half);
  return (Vec)(__builtin_convertvector(half, WordVec) << 16);
}

RFT_INLINE Vec load(const int8_t* p) {
#if RFT_LANES == 16
  __m128i codes;
  std::memcpy(&codes, p, 16);
  return (Vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
#elif RFT_LANES == 8
  int64_t codes;
  std::memcpy(&codes, p, 8);
  return (Vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(codes)));
#else
  Vec v;
  for (int i = 0; i < kLanes; ++i) v[i] = static_cast<float>(p[i]);
  return v;
#endif
}

RFT_INLINE float widen(float x) { return x; }

RFT_INLINE float widen(int8_t x) { return static_cast<float>(x); }

RFT_INLINE float widen(uint16_t x) {
  const uint32_t word = uint32_t{x} << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

RFT_INLINE void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

RFT_INLINE Vec splat(float x) { return x - Vec{}; }

RFT_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }

#if RFT_LANES == 16
typedef float Vec8 __attribute__((vector_size(32)));
typedef float Vec4 __attribute__((vector_size(16)));
RFT_INLINE Vec4 fold(Vec v) {
  const Vec8 half = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                    __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  return __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
}
#elif RFT_LANES == 8
typedef float Vec4 __attribute__((vector_size(16)));
RFT_INLINE Vec4 fold(Vec v) {
  return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
}
#else
typedef Vec Vec4;
RFT_INLINE Vec4 fold(Vec v) { return v; }
#endif

RFT_INLINE float sum(Vec v) {
  const Vec4 four = fold(v);
  return (four[0] + four[1]) + (four[2] + four[3]);
}

RFT_INLINE float maximum(Vec v) {
  float best = v[0];
  for (int i = 1; i < kLanes; ++i) best = v[i] > best ? v[i] : best;
  return best;
}

/// Swaps the off-diagonal S x S blocks of rows `a` and `b`, lanes J.
template <int S, int... J>
RFT_INLINE void swap_blocks(Vec& a, Vec& b, std::integer_sequence<int, J...>) {
  const Vec low = __builtin_shufflevector(a, b, ((J & S) ? (J ^ S) + kLanes : J)...);
  b = __builtin_shufflevector(a, b, ((J & S) ? J + kLanes : (J | S))...);
  a = low;
}

template <int S>
RFT_INLINE void transpose_step(Vec* rows) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (!(i & S)) swap_blocks<S>(rows[i], rows[i | S], std::make_integer_sequence<int, kLanes>());
  }
}

/// Transposes kLanes vectors in place.
RFT_INLINE void transpose(Vec* rows) {
  transpose_step<1>(rows);
  transpose_step<2>(rows);
#if RFT_LANES > 4
  transpose_step<4>(rows);
#endif
#if RFT_LANES > 8
  transpose_step<8>(rows);
#endif
}

/// e^x to 1.5 ulp; 0 below -87.3, e^88.3 above 88.3. Cody-Waite reduction and a degree-6 polynomial.
RFT_INLINE Vec exp(Vec x) {
  const Vec low = splat(-87.3f), high = splat(88.3f);
  const Vec bounded = x < low ? low : (x > high ? high : x);
  const Vec magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec shifted = bounded * 1.44269504f + magic;
  const Vec n = shifted - magic;
  const Vec r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f;
  Vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const Vec scale = (Vec)((__builtin_convertvector(n, IntVec) + 127) << 23);
  const Vec result = p * scale;
  return x < low ? Vec{} : result;
}

/// The vector at p whose lanes from `count` on are `fill`.
RFT_INLINE Vec load_some(const float* p, int64_t count, float fill) {
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? p[i] : fill;
  return load(lanes);
}

RFT_INLINE void store_some(float* p, Vec v, int64_t count) { std::memcpy(p, &v, static_cast<size_t>(count) * 4); }

}  // namespace
}  // namespace rft::ops
