#pragma once
/// Log-probability of chosen tokens from hidden states, without ever holding [N, V] logits.
#include <functional>

#include "rft/core/tensor.h"

namespace rft::ops {

struct LinearLogp {
  Tensor logp;     ///< [N] float32 (float64 for float64 input): log softmax(z / temperature)[target], nats, where
                   ///< z = hidden W^T, or softcap tanh(hidden W^T / softcap)
  Tensor entropy;  ///< [N], of the same distribution; undefined unless asked for
};

/// Where several processes share the vocabulary: this one's weight holds the tokens first .. first + V of `whole`. Each
/// finds what its own come to, and `gather` gives them all of it: [N, 3] -> [processes, N, 3], float64. The gradient of
/// hidden is then that of this process's tokens alone: the caller sums it over the processes.
struct VocabularyPart {
  int64_t first = 0, whole = 0;
  std::function<Tensor(const Tensor&)> gather;
};

/// hidden [N, D], weight [V, D] (same dtype: float32, float64, bfloat16), target [N] int64 in [0, V). Differentiable in
/// hidden and weight, for logp and entropy alike; computed in tiles of rows, recomputed in the backward pass: the
/// memory beyond input and output is one tile of logits. Sums in float32 or better. With a `part` (on the CPU) target
/// is of the whole vocabulary.
LinearLogp linear_logp(const Tensor& hidden, const Tensor& weight, const Tensor& target, double temperature = 1.0,
                       bool with_entropy = false, double softcap = 0, const VocabularyPart* part = nullptr);

}  // namespace rft::ops
