#pragma once
/// What a step of an episode is worth, by a multi-layer perceptron of what was observed and what was done there.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "rft/nn/mlp.h"

namespace rft {

/// A directory holds config.json ("model_type": "rft_episode_model", the sizes) and model.safetensors: the layers
/// "worth.N.weight", "worth.N.bias", and "mean", "deviation" [D + A] of what the network sees.
class EpisodeModel {
 public:
  struct Shape {
    int64_t observation = 0, action = 0;  ///< numbers of an observation and of an action: D, A
    std::vector<int64_t> hidden;
    std::string activation = "relu";
  };
  EpisodeModel(Shape shape, uint64_t seed);
  /// What a directory holds. Throws UserError naming `where`, the config or the tensor that does not fit.
  static EpisodeModel from(const std::string& config, const std::map<std::string, Tensor>& tensors,
                           const std::string& where);

  const Shape& shape() const { return shape_; }
  /// observation [..., D] and action [..., A], float -> [...], with gradients of the weights.
  Tensor operator()(const Tensor& observation, const Tensor& action) const;
  /// Takes mean and deviation of `seen` [N, D + A]; the network is shown what it sees less the mean, over the
  /// deviation.
  void standardize(const Tensor& seen);
  std::string config_json() const;
  /// The layers', trained.
  std::vector<std::pair<std::string, Tensor>> layers() const { return network_.tensors("worth"); }
  /// All that a directory holds.
  std::map<std::string, Tensor> tensors() const;

 private:
  Shape shape_;
  Mlp network_;
  Tensor mean_, deviation_;
};

}  // namespace rft
