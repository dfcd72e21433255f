#pragma once
/// Log-probabilities of chosen tokens from logits, in one pass over them. The operators rft::token_logp and
/// rft::token_logp_backward; differentiable callers use linear_logp.
#include "rft/core/tensor.h"

namespace rft::ops {

struct TokenLogp {
  Tensor logp;     ///< [N] float32 (float64 of float64 logits): log softmax(scale logits)[target], nats; NaN where the
                   ///< target is not in [0, V)
  Tensor lse;      ///< [N] log sum exp(scale logits)
  Tensor entropy;  ///< [N] of the same distribution
};

/// logits [N, V] (float32, float64, bfloat16 or float16; rows may lie further apart), target [N] int64.
TokenLogp token_logp(const Tensor& logits, const Tensor& target, double scale);

/// [N, V] of `dtype`: the gradient of sum(grad_logp logp + grad_entropy entropy) in the logits. grad_entropy may be
/// undefined.
Tensor token_logp_backward(const Tensor& logits, const Tensor& target, double scale, const Tensor& lse,
                           const Tensor& entropy, const Tensor& grad_logp, const Tensor& grad_entropy,
                           at::ScalarType dtype);

}  // namespace rft::ops
