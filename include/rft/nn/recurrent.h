#pragma once
/// One layer of recurrent cells, LSTM (Hochreiter & Schmidhuber 1997) or GRU (Cho et al. 2014, arXiv:1406.1078), with
/// torch.nn.LSTMCell's and GRUCell's formulas and names.
#include <string>
#include <utility>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

class Recurrent {
 public:
  Recurrent() = default;
  /// `type` is "lstm" or "gru"; weights are uniform within 1 / sqrt(size), as torch's, and `seed` determines them.
  Recurrent(std::string type, int64_t in, int64_t size, uint64_t seed);

  bool empty() const { return !input_weight_.defined(); }
  int64_t size() const { return size_; }
  /// Numbers of a state: the output, and behind it the cell's own (LSTM).
  int64_t state_size() const { return type_ == "lstm" ? 2 * size_ : size_; }
  /// x [N, in], state [N, state_size()] -> the state after it.
  Tensor step(const Tensor& x, const Tensor& state) const;
  /// [N, size]: what a state [N, state_size()] gives.
  Tensor output(const Tensor& state) const { return state.narrow(-1, 0, size_); }
  /// Outputs [B, T, size] along x [B, T, in] from `state` [B, state_size()]; where keep [B, T] (1 or 0, x's dtype) is 0
  /// the state is zero before the step.
  Tensor run(const Tensor& x, const Tensor& state, const Tensor& keep) const;
  /// "NAME.weight_ih", "NAME.weight_hh", "NAME.bias_ih", "NAME.bias_hh".
  std::vector<std::pair<std::string, Tensor>> tensors(const std::string& name) const;
  /// The same with weights that share nothing with this one's, without gradients.
  Recurrent frozen_copy() const;

 private:
  std::string type_;
  int64_t size_ = 0;
  Tensor input_weight_, state_weight_, input_bias_, state_bias_;
};

}  // namespace rft
