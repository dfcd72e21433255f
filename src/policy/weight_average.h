#pragma once
/// An exponential moving average of a model's weights, which takes their place in the end.
#include <vector>

#include "rft/core/state.h"
#include "rft/nn/weights.h"

namespace rft {

class WeightAverage {
 public:
  /// average = decay * average + (1 - decay) * weights; the first call takes them as they are.
  void add(const Weights& weights, double decay);
  /// The average into the weights; nothing where none was taken.
  void put(const Weights& weights) const;
  /// Exchanges the two.
  void swap(const Weights& weights);
  bool empty() const { return tensors_.empty(); }

  /// Under NAME.TENSOR.
  void save(const Weights& weights, const std::string& name, State& state) const;
  void load(const Weights& weights, const std::string& name, const State& state);

 private:
  std::vector<Tensor> tensors_;
};

}  // namespace rft
