#pragma once
/// Log-probabilities of tokens from a decoder's states, whole or divided among processes.
#include "rft/nn/decoder.h"
#include "rft/ops/linear_logp.h"

namespace rft {

struct TokenLogpOptions {
  double temperature = 1;
  bool with_entropy = false;
  bool adapters = true;  ///< false: the base model's head
};

/// states [N, D] as forward() gives them, target [N] int64 tokens; differentiable in the states and the head. Of a
/// divided decoder collective, and the same bits in all processes.
ops::LinearLogp token_logp(const Decoder& decoder, const Tensor& states, const Tensor& target,
                           const TokenLogpOptions& options);

}  // namespace rft
