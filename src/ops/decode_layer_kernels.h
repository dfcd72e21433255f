/// Norms, activations and softmax sums of one row.
#pragma once
#include <algorithm>
#include <cmath>

#include "ops/decode_kernels.h"
#include "ops/decode_simd.h"

namespace rft::ops {
namespace {

/// Calls body(first, count) for every full vector and once for a partial one.
template <class Body>
RFT_INLINE void for_vectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}

RFT_INLINE Vec load_up_to(const float* p, int64_t count, float fill = 0) {
  return count == kLanes ? load(p) : load_some(p, count, fill);
}

RFT_INLINE void store_up_to(float* p, Vec v, int64_t count) {
  if (count == kLanes) {
    store(p, v);
  } else {
    store_some(p, v, count);
  }
}

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  Vec squares = {};
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec v = load_up_to(x + i, count);
    squares += v * v;
  });
  const float scale = 1.f / std::sqrt(sum(squares) / static_cast<float>(n) + eps);
  for_vectors(n, [&](int64_t i, int64_t count) {
    store_up_to(y + i, load_up_to(x + i, count) * scale * load_up_to(weight + i, count), count);
  });
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y) {
  Vec total = {};
  for_vectors(n, [&](int64_t i, int64_t count) { total += load_up_to(x + i, count); });
  const float mean = sum(total) / static_cast<float>(n);
  Vec squares = {};
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec v = load_up_to(x + i, count, mean) - mean;
    squares += v * v;
  });
  const float scale = 1.f / std::sqrt(sum(squares) / static_cast<float>(n) + eps);
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec v = (load_up_to(x + i, count) - mean) * scale;
    store_up_to(y + i, v * load_up_to(weight + i, count) + load_up_to(bias + i, count), count);
  });
}

RFT_INLINE Vec sigmoid(Vec x) { return 1.f / (1.f + exp(-x)); }

void gated_silu(const float* gate, const float* up, int64_t n, float* y) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec g = load_up_to(gate + i, count);
    store_up_to(y + i, g * sigmoid(g) * load_up_to(up + i, count), count);
  });
}

/// silu'(z) = s (1 + z (1 - s)) with s = sigmoid(z).
void gated_silu_gradient(const float* gate, const float* up, const float* dy, int64_t n, float* dgate, float* dup) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec z = load_up_to(gate + i, count), g = load_up_to(dy + i, count);
    const Vec s = sigmoid(z);
    store_up_to(dup + i, g * z * s, count);
    store_up_to(dgate + i, g * load_up_to(up + i, count) * s * (1.f + z * (1.f - s)), count);
  });
}

void silu(float* x, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec v = load_up_to(x + i, count);
    store_up_to(x + i, v * sigmoid(v), count);
  });
}

/// 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3)
void gelu_tanh(float* x, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec v = load_up_to(x + i, count);
    store_up_to(x + i, v * sigmoid(1.5957691216f * (v + 0.044715f * v * v * v)), count);
  });
}

/// 0.5 x (1 + erf(x / sqrt 2)); erf to 1.5e-7 by Abramowitz and Stegun 7.1.26.
void gelu_erf(float* x, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Vec v = load_up_to(x + i, count);
    const Vec z = (v < 0.f ? -v : v) * 0.70710678f;
    const Vec t = 1.f / (1.f + 0.3275911f * z);
    const Vec poly =
        t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    const Vec tail = poly * exp(-z * z);  // 1 - erf(z)
    store_up_to(x + i, 0.5f * v * (v < 0.f ? tail : 2.f - tail), count);
  });
}

float row_max(const float* x, int64_t n) {
  Vec best = splat(x[0]);
  for_vectors(n, [&](int64_t i, int64_t count) { best = larger(best, load_up_to(x + i, count, x[0])); });
  return maximum(best);
}

ExpSums exp_sums(const float* logits, int64_t n, float scale, double* block_sums) {
  ExpSums sums;
  sums.max = row_max(logits, n);
  for (int64_t first = 0; first < n; first += kSumBlock) {
    Vec total = {}, weighted = {};
    for_vectors(std::min(kSumBlock, n - first), [&](int64_t i, int64_t count) {
      const Vec v = (load_up_to(logits + first + i, count, sums.max) - sums.max) * scale;
      Vec e = exp(v);
      if (count < kLanes) {
        for (int64_t lane = count; lane < kLanes; ++lane) e[lane] = 0;
      }
      total += e;
      weighted += e * (v < -87.3f ? Vec{} : v);
    });
    const double block = sum(total);
    block_sums[first / kSumBlock] = block;
    sums.total += block;
    sums.weighted += sum(weighted);
  }
  return sums;
}

}  // namespace
}  // namespace rft::ops
