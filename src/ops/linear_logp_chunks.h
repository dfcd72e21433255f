#pragma once
/// linear_logp on a GPU: chunks of rows whose logits are whole, each a matrix product and one pass over its result.
#include "rft/core/tensor.h"

namespace rft::ops {

struct ChunkedLogp {
  Tensor logp, lse, entropy;  ///< [N] float32 (float64 of float64 input)
};

struct ChunkShape {
  double temperature = 1, softcap = 0;  ///< softcap 0: none
  int64_t rows = 0;                     ///< of a chunk; 0: as many as 1 GiB of float32 logits holds
};

/// hidden [N, D], weight [V, D] of one dtype, target [N] int64; any device. Logits are float32 where the products of
/// half-precision numbers can be (on a GPU), not rounded to half precision.
ChunkedLogp chunked_logp(const Tensor& hidden, const Tensor& weight, const Tensor& target, const ChunkShape& shape);

struct ChunkedGradients {
  Tensor hidden, weight;  ///< undefined unless wanted
};

/// grad_entropy may be undefined. The weight's gradient is added up in float32 over the chunks.
ChunkedGradients chunked_logp_backward(const Tensor& hidden, const Tensor& weight, const Tensor& target,
                                       const ChunkShape& shape, const ChunkedLogp& saved, const Tensor& grad_logp,
                                       const Tensor& grad_entropy, bool wants_hidden, bool wants_weight);

}  // namespace rft::ops
