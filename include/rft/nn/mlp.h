#pragma once
/// A multi-layer perceptron: linear layers with an activation between them.
#include <string>
#include <vector>

#include "rft/core/tensor.h"
#include "rft/ops/mlp.h"

namespace rft {

class Mlp {
 public:
  Mlp() = default;
  /// Widths from input to output, at least two; "tanh", "relu", "elu" or "silu" after all layers but the last. Weights
  /// are orthogonal (Saxe et al. 2014, arXiv:1312.6120) times sqrt(2), the last layer's times `last_gain`, biases 0, as
  /// Stable-Baselines3 makes them; `seed` determines them. Throws UserError for another activation.
  Mlp(const std::vector<int64_t>& widths, std::string activation, double last_gain, uint64_t seed);

  /// x [..., in] -> [..., out].
  Tensor operator()(const Tensor& x) const;
  bool empty() const { return layers_.empty(); }
  /// "NAME.0.weight", "NAME.0.bias", "NAME.1.weight", ...: leaves that the layers compute with.
  std::vector<std::pair<std::string, Tensor>> tensors(const std::string& name) const;
  /// The same with the present weights as constants: gradients reach x alone.
  Mlp fixed() const;
  /// The same with layers that share nothing with this one's, without gradients.
  Mlp frozen_copy() const;

 private:
  std::vector<ops::MlpLayer> layers_;
  std::string activation_;
};

}  // namespace rft
