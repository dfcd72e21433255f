#pragma once
/// Divergences between the whole distributions of two models, without ever holding [N, V] logits.
#include "rft/core/experience.h"

namespace rft::ops {

/// [N] float32 (float64 for float64 input), nats: `divergence` of p = softmax(hidden weight^T / temperature) from q,
/// the same of ref_hidden [N, D'] and ref_weight [V, D']. hidden [N, D], weight [V, D]; one dtype (float32, float64,
/// bfloat16) and one V for all. Differentiable in hidden and weight alone; computed in tiles of rows, recomputed in the
/// backward pass: the memory beyond input and output is some tiles of logits. Sums in float32 or better. A model whose
/// `softcap` c is above 0 has the logits c tanh(. / c) before the temperature.
Tensor linear_divergence(const Tensor& hidden, const Tensor& weight, const Tensor& ref_hidden, const Tensor& ref_weight,
                         const Divergence& divergence, double temperature = 1.0, double softcap = 0,
                         double ref_softcap = 0);

/// [...]: the same of log-probabilities logp and ref_logp [..., V]; differentiable in logp through LibTorch's own
/// graph.
Tensor divergence_of(const Tensor& logp, const Tensor& ref_logp, const Divergence& divergence);

}  // namespace rft::ops
