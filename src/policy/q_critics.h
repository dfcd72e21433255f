#pragma once
/// K networks Q(observation, action) that each estimate a return, and slow copies that follow them.
#include <string>
#include <vector>

#include "rft/core/experience.h"
#include "rft/nn/mlp.h"

namespace rft {

class QCritics {
 public:
  enum class Weights {
    trained,  ///< gradients reach the critics (and the action)
    fixed,    ///< the same numbers; gradients reach the action alone
    slow,     ///< the slow copies, without gradients to weights
  };
  QCritics() = default;
  /// `widths`: from observation and action together to 1.
  QCritics(int64_t count, const std::vector<int64_t>& widths, const std::string& activation, uint64_t seed);

  bool empty() const { return trained_.empty(); }
  /// observation [N, D] and action [N, A], its numbers scaled to [-1, 1] -> [N, K].
  Tensor operator()(const Tensor& observation, const Tensor& action, Weights weights) const;
  /// The slow copies move by the share `tau` towards the trained networks.
  void follow(double tau);

  /// "q.K.LAYER.weight", ...; trained.
  std::vector<std::pair<std::string, Tensor>> tensors() const;
  /// "slow_q.K.LAYER.weight", ...
  std::vector<std::pair<std::string, Tensor>> slow_tensors() const;

 private:
  std::vector<Mlp> trained_, slow_;
};

/// Each of `slow` moves by the share `tau` towards its namesake in `trained`.
void follow(const Mlp& slow, const Mlp& trained, double tau);

}  // namespace rft
