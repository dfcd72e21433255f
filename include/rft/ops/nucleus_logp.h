#pragma once
/// Log-probability of chosen tokens among those that another model finds likely, without ever holding [N, V] logits.
#include "rft/ops/linear_logp.h"

namespace rft::ops {

/// Who says what is likely: the tokens that make up `top_p` of softmax(hidden weight^T), each row's likeliest first, as
/// kept_tokens() (decode_sample.h) has them.
struct NucleusOf {
  Tensor hidden;  ///< [N, D']
  Tensor weight;  ///< [V, D']
  double top_p = 1;
  double softcap = 0;
};

/// As linear_logp(), of the distribution that is left of softmax(z / temperature) on the nucleus of `guide`, and on the
/// target where that lies outside: log pi_masked of NLPO (Ramamurthy et al. 2022, arXiv:2210.01241, algorithm 1; RL4LMs
/// evaluates actions so). Tokens outside have no gradient. On the CPU.
LinearLogp nucleus_logp(const Tensor& hidden, const Tensor& weight, const Tensor& target, const NucleusOf& guide,
                        double temperature = 1.0, bool with_entropy = false, double softcap = 0);

}  // namespace rft::ops
