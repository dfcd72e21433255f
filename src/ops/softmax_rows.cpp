#include "ops/softmax_rows.h"

#include <bit>
#include <cmath>

// The loops below are compiled for several instruction sets; the processor's best is picked when the library loads.
// Not under AddressSanitizer: the pick runs before the sanitizer has started.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define RFT_VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define RFT_VECTORISED
#endif

namespace rft::ops {
namespace {

/// exp for x <= 0 or slightly above, within 2 ulp: x = n ln 2 + r, a polynomial in r, n put into the exponent. Below
/// -87 the result is exp(-87) = 1.6e-38 (no denormals, no branches: the compiler vectorises it). NaN stays NaN.
[[gnu::always_inline]] inline float fast_exp(float x) {
  constexpr float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  x = x < -87.0f ? -87.0f : x;
  float shifted = x * 1.44269504088896341f + shift;
  float n = shifted - shift;
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(shift) + 127;
  return p * std::bit_cast<float>(static_cast<uint32_t>(exponent) << 23);
}
[[gnu::always_inline]] inline double fast_exp(double x) { return std::exp(x); }

template <class T>
[[gnu::always_inline]] inline T largest(const T* z, int64_t n) {
  T top = z[0];
#pragma omp simd reduction(max : top)
  for (int64_t j = 0; j < n; ++j) top = z[j] > top ? z[j] : top;
  return top;
}

template <class T>
[[gnu::always_inline]] inline T sum_exp(const T* z, int64_t n, T top) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) sum += fast_exp(z[j] - top);
  return sum;
}

template <class T>
[[gnu::always_inline]] inline T sum_exp_weighted(const T* z, int64_t n, T top, T& weighted) {
  T sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
  for (int64_t j = 0; j < n; ++j) {
    T x = z[j] - top, e = fast_exp(x);
    sum += e;
    product += e * x;
  }
  weighted = product;
  return sum;
}

template <class T>
[[gnu::always_inline]] inline void add(SoftmaxSums& sums, const T* z, int64_t n, bool with_entropy) {
  constexpr int64_t chunk = 256;  // summed in T, the chunks in float64
  if (n == 0) return;
  T top = largest(z, n);
  double sum = 0, weighted = 0;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    int64_t length = n - begin < chunk ? n - begin : chunk;
    T part = 0;
    sum += with_entropy ? sum_exp_weighted(z + begin, length, top, part) : sum_exp(z + begin, length, top);
    weighted += part;
  }
  double max = top > sums.max ? static_cast<double>(top) : sums.max;
  double old_shift = sums.sum > 0 ? sums.max - max : 0, new_shift = static_cast<double>(top) - max;
  double old_scale = std::exp(old_shift), new_scale = std::exp(new_shift);
  sums.weighted = old_scale * (sums.weighted + old_shift * sums.sum) + new_scale * (weighted + new_shift * sum);
  sums.sum = old_scale * sums.sum + new_scale * sum;
  sums.max = max;
}

template <class T>
[[gnu::always_inline]] inline void gradient(T* z, int64_t n, T lse, T g, T h, T entropy) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    T log_p = z[j] - lse;
    z[j] = -fast_exp(log_p) * (g + h * (log_p + entropy));
  }
}

}  // namespace

RFT_VECTORISED void add_block(SoftmaxSums& sums, const float* z, int64_t n, bool with_entropy) {
  add(sums, z, n, with_entropy);
}
RFT_VECTORISED void to_gradient(float* z, int64_t n, float lse, float g, float h, float entropy) {
  gradient(z, n, lse, g, h, entropy);
}
void add_block(SoftmaxSums& sums, const double* z, int64_t n, bool with_entropy) { add(sums, z, n, with_entropy); }
void to_gradient(double* z, int64_t n, double lse, double g, double h, double entropy) {
  gradient(z, n, lse, g, h, entropy);
}

}  // namespace rft::ops
