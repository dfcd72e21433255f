#pragma once
/// The MLP of a decoder's layer: its activations, and mixtures of experts.
#include "rft/nn/decoder.h"

namespace rft {

/// x [N, W]; `kind` silu, gelu, gelu_new or relu.
Tensor activated(const Tensor& x, const std::string& kind);
/// x [N, 2 W] holds gate, then up; [N, W].
Tensor gated(const Tensor& x, const std::string& kind);

/// [N, experts] float32 (float64): what the router thinks of each expert for x [N, D].
Tensor router_probabilities(const DecoderLayer& layer, const Tensor& x);
/// [N, D]: of each row of x the outputs of the experts that `routing` [N, experts] likes best, weighted by it.
Tensor mixture(const DecoderLayer& layer, const Tensor& x, const Tensor& routing, const DecoderConfig& config,
               bool adapters);

/// How often each expert was chosen and how probable it was, over all layers.
class ExpertUse {
 public:
  void add(const Tensor& routing, int64_t per_token);
  /// Decoder::Balanced::balance.
  Tensor balance() const;

 private:
  Tensor chosen_;       ///< [experts] counts
  Tensor probability_;  ///< [experts] sums, with their graph
  int64_t rows_ = 0;
};

}  // namespace rft
