#pragma once
/// Log-probability of one chosen token a row, and the entropy, in one pass over the logits; and their gradient.
/// N rows, V tokens. Exponentials are powers of two: logits come multiplied by scale log2(e), "bits".
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/host_device.h"

namespace rft::kernels {

/// 2^x; results below 2^-126 may be 0.
RFT_HOST_DEVICE float power2(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}

inline constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

/// Running sums of a softmax (online normaliser, Milakov & Gimelshein 2018, arXiv:1805.02867), relative to the largest
/// logit so far. Sums of parts of a row are merged in any order.
struct OnlineSoftmax {
  float max = -std::numeric_limits<float>::infinity();  ///< bits
  float sum = 0;                                        ///< sum 2^(z - max)
  float weighted = 0;                                   ///< sum 2^(z - max) (z - max)
};

RFT_HOST_DEVICE OnlineSoftmax merged(const OnlineSoftmax& a, const OnlineSoftmax& b) {
  if (a.sum == 0) return b;
  if (b.sum == 0) return a;
  OnlineSoftmax out;
  out.max = a.max > b.max ? a.max : b.max;
  float shift_a = a.max - out.max, shift_b = b.max - out.max;
  float scale_a = power2(shift_a), scale_b = power2(shift_b);
  out.sum = a.sum * scale_a + b.sum * scale_b;
  out.weighted = scale_a * (a.weighted + a.sum * shift_a) + scale_b * (b.weighted + b.sum * shift_b);
  return out;
}

/// Adds `Count` logits [bits] at once: the sums are moved to a larger maximum at most once.
template <int Count>
RFT_HOST_DEVICE void add_logits(OnlineSoftmax& s, const float (&z)[Count]) {
  float top = z[0];
  for (int i = 1; i < Count; ++i) top = fmaxf(top, z[i]);
  if (top > s.max) {
    float shift = s.max - top, scale = s.sum == 0 ? 0.0f : power2(shift);
    s.weighted = s.sum == 0 ? 0.0f : scale * (s.weighted + s.sum * shift);
    s.sum *= scale;
    s.max = top;
  }
  if (s.max == -std::numeric_limits<float>::infinity()) return;  // impossible tokens add nothing
  for (int i = 0; i < Count; ++i) {
    float below = z[i] - s.max;
    below = below < -150.0f ? -150.0f : below;  // 2^-150 is 0, and 0 * -inf no number; NaN stays NaN
    float e = power2(below);
    s.sum += e;
    s.weighted += e * below;
  }
}

/// log sum exp of the row, nats.
RFT_HOST_DEVICE float log_normalizer(const OnlineSoftmax& s) { return (s.max + log2f(s.sum)) * kLn2; }
/// H = log Z - sum p z, nats.
RFT_HOST_DEVICE float entropy_of(const OnlineSoftmax& s) { return (log2f(s.sum) - s.weighted / s.sum) * kLn2; }

/// d(g log p[target] + h H) / dz[j] where log p[j] is `bits` times ln 2 and the row's entropy H, nats.
RFT_HOST_DEVICE float logit_gradient(float bits, bool is_target, float g, float h, float entropy) {
  float p = power2(bits), of_entropy = p == 0 ? 0.0f : h * (bits * kLn2 + entropy);
  return (is_target ? g : 0.0f) - p * (g + of_entropy);
}
/// The same for h = 0.
RFT_HOST_DEVICE float logit_gradient(float bits, bool is_target, float g) {
  return (is_target ? g : 0.0f) - g * power2(bits);
}

enum class NumberType : int;

/// logits [N, V], rows `stride` numbers apart; they are multiplied by `scale` here. target [N]: where it is not in
/// [0, V) logp is NaN. Writes logp, lse and entropy [N] float32. Returns a cudaError_t, 0 = success.
int token_logp_forward(const void* logits, NumberType type, int64_t stride, const int64_t* target, float scale,
                       int64_t rows, int64_t vocabulary, float* logp, float* lse, float* entropy, void* stream);

/// Writes grad_logits [N, V] (dense) from grad_logp [N] and, where not null, grad_entropy [N].
int token_logp_backward(const void* logits, NumberType type, int64_t stride, const int64_t* target, float scale,
                        int64_t rows, int64_t vocabulary, const float* lse, const float* entropy,
                        const float* grad_logp, const float* grad_entropy, void* grad_logits, NumberType grad_type,
                        void* stream);

}  // namespace rft::kernels
