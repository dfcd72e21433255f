#pragma once
/// Draws one token from logits.
#include <cstdint>
#include <vector>

namespace rft::ops {

/// Filters act as transformers' logits processors, in their order: repetition penalty, temperature, top-k, top-p,
/// min-p.
struct TokenSampling {
  double temperature = 1;         ///< >= 0; 0 takes the likeliest token (the lowest id of several)
  int64_t top_k = 0;              ///< 0 = off; tokens as likely as the k-th stay
  double top_p = 1;               ///< [0, 1]
  double min_p = 0;               ///< [0, 1]
  double repetition_penalty = 1;  ///< > 0
};

struct SampledToken {
  int64_t id = 0;
  float logp = 0;     ///< nats, under softmax(logits / temperature) before penalty and filters; temperature 0: under 1
  float entropy = 0;  ///< of the same distribution
};

/// logits [vocab]; `seen` holds the ids that the penalty applies to (repeats count once); `uniform` in [0, 1) decides.
/// Throws RunError where the logits are not finite.
SampledToken sample_token(const float* logits, int64_t vocab, const TokenSampling& options,
                          const std::vector<int64_t>& seen, double uniform);

/// The ids that the filters leave, ascending (temperature > 0).
std::vector<int64_t> kept_tokens(const float* logits, int64_t vocab, const TokenSampling& options,
                                 const std::vector<int64_t>& seen);

}  // namespace rft::ops
