#pragma once
/// How an action is drawn from what a network says, and how likely it was.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rft/core/action_space.h"
#include "rft/core/tensor.h"

namespace rft {

class ActionDistribution {
 public:
  virtual ~ActionDistribution() = default;
  /// Called before all others; the action's size and bounds.
  virtual void enter(const ActionSpace& space) = 0;
  /// Numbers that the network gives for one decision.
  virtual int64_t outputs() const = 0;
  /// Without gradients: an action [N, K] for each row of `output` [N, outputs()], and its log-probability [N].
  virtual std::pair<Tensor, Tensor> draw(const Tensor& output, const std::vector<uint64_t>& keys,
                                         bool greedy) const = 0;
  /// What an action means to the environment: [N, K] float64.
  virtual Tensor command(const Tensor& action) const = 0;
  /// [...]: log-probability of `action` [..., K] given `output` [..., outputs()], with gradients.
  virtual Tensor logp(const Tensor& output, const Tensor& action) const = 0;
  /// [...]: the entropy, or for a squashed one an estimate of it from `logp`, nats.
  virtual Tensor entropy(const Tensor& output, const Tensor& logp) const = 0;
  /// Trained tensors of its own, under their names in the directory.
  virtual std::vector<std::pair<std::string, Tensor>> tensors() const { return {}; }
  /// The same with tensors of its own that don't change.
  virtual std::unique_ptr<ActionDistribution> frozen_copy() const = 0;
};

std::unique_ptr<ActionDistribution> gaussian_distribution(double log_std, bool squash);
std::unique_ptr<ActionDistribution> categorical_distribution();

}  // namespace rft
