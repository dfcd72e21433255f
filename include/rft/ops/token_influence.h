#pragma once
/// How the tokens of a language model pull on each other through its head.
#include "rft/core/tensor.h"

namespace rft::ops {

/// [N] float32 (float64 for float64 input): of each token, the inner product of the gradients in the head's weight W of
/// its log-probability and of the summed log-probability of the tokens where `right` is true:
///   s_t = sum_{t' right} <e_y - p, e_y' - p'> <h_t, h_t'>,  p = softmax(z / temperature), z = h W^T,
/// which says by how much, to first order and as far as the head goes, raising one token raises those (NTHR's s, Deng
/// et al. 2025, arXiv:2505.18830, eq. 6, summed over the right answers). e_y is one-hot; with a temperature both
/// factors e_y - p are divided by it, with a softcap multiplied by the cap's slope. hidden [N, D], weight [V, D] (same
/// dtype), target [N] int64, right [N] bool. Without gradients, in tiles of rows; beside them one [V, D].
Tensor token_influence(const Tensor& hidden, const Tensor& weight, const Tensor& target, const Tensor& right,
                       double temperature = 1.0, double softcap = 0);

}  // namespace rft::ops
