#pragma once
/// Log-probability of one chosen token a row, and the entropy, in one pass over the logits; and their gradient.
/// N rows, V tokens. No LibTorch: raw pointers, sizes, a stream.
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/host_device.h"

namespace rft::kernels {

/// Running sums of a softmax (online normaliser, Milakov & Gimelshein 2018, arXiv:1805.02867), relative to the largest
/// logit so far. Sums of parts of a row are merged in any order.
struct OnlineSoftmax {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;       ///< sum exp(z - max)
  float weighted = 0;  ///< sum exp(z - max) (z - max)
};

RFT_HOST_DEVICE OnlineSoftmax merged(const OnlineSoftmax& a, const OnlineSoftmax& b) {
  if (a.sum == 0) return b;
  if (b.sum == 0) return a;
  OnlineSoftmax out;
  out.max = a.max > b.max ? a.max : b.max;
  float shift_a = a.max - out.max, shift_b = b.max - out.max;
  float scale_a = expf(shift_a), scale_b = expf(shift_b);
  out.sum = a.sum * scale_a + b.sum * scale_b;
  out.weighted = scale_a * (a.weighted + a.sum * shift_a) + scale_b * (b.weighted + b.sum * shift_b);
  return out;
}

RFT_HOST_DEVICE OnlineSoftmax one_logit(float z) {
  OnlineSoftmax out;
  if (z == -std::numeric_limits<float>::infinity()) return out;  // an impossible token adds nothing
  out.max = z, out.sum = 1;
  return out;
}

/// log sum exp of the row.
RFT_HOST_DEVICE float log_normalizer(const OnlineSoftmax& s) { return s.max + logf(s.sum); }
/// H = log Z - sum p z, nats.
RFT_HOST_DEVICE float entropy_of(const OnlineSoftmax& s) { return logf(s.sum) - s.weighted / s.sum; }

/// d(g log p[target] + h H) / dz[j], for z with log-normaliser lse and entropy H.
RFT_HOST_DEVICE float logit_gradient(float z, float lse, bool is_target, float g, float h, float entropy) {
  float logp = z - lse, p = expf(logp);
  return (is_target ? g : 0.0f) - p * (g + h * (logp + entropy));
}

/// logits [N, V] row-major float32 (scaled by 1 / temperature here), target [N] in [0, V).
/// Writes logp [N], lse [N] and, where not null, entropy [N]. Returns a cudaError_t, 0 = success.
int token_logp_forward(const float* logits, const int64_t* target, float inverse_temperature, int64_t rows,
                       int64_t vocabulary, float* logp, float* lse, float* entropy, void* stream);

/// Writes grad_logits [N, V] from grad_logp [N] and, where not null, grad_entropy [N] (then entropy [N] is read).
int token_logp_backward(const float* logits, const int64_t* target, float inverse_temperature, int64_t rows,
                        int64_t vocabulary, const float* lse, const float* entropy, const float* grad_logp,
                        const float* grad_entropy, float* grad_logits, void* stream);

}  // namespace rft::kernels
