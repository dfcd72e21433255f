#pragma once
/// Log-probability of chosen tokens from hidden states, without ever holding [N, V] logits.
#include "rft/core/tensor.h"

namespace rft::ops {

struct LinearLogp {
  Tensor logp;     ///< [N] float32 (float64 for float64 input): log softmax(z / temperature)[target], nats, where
                   ///< z = hidden W^T, or softcap tanh(hidden W^T / softcap)
  Tensor entropy;  ///< [N], of the same distribution; undefined unless asked for
};

/// hidden [N, D], weight [V, D] (same dtype: float32, float64, bfloat16), target [N] int64 in [0, V). Differentiable in
/// hidden and weight, for logp and entropy alike; computed in tiles of rows, recomputed in the backward pass: the
/// memory beyond input and output is one tile of logits. Sums in float32 or better.
LinearLogp linear_logp(const Tensor& hidden, const Tensor& weight, const Tensor& target, double temperature = 1.0,
                       bool with_entropy = false, double softcap = 0);

}  // namespace rft::ops
