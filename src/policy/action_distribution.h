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
  virtual void enter(const ActionSpace& space) { space_ = space; }
  /// What directories call it; two of one name read each other's networks.
  virtual std::string name() const = 0;
  /// Numbers that the network gives for one decision.
  virtual int64_t outputs() const = 0;
  /// Without gradients: an action [N, K] for each row of `output` [N, outputs()], and its log-probability [N].
  virtual std::pair<Tensor, Tensor> draw(const Tensor& output, const std::vector<uint64_t>& keys,
                                         bool greedy) const = 0;
  /// What an action means to the environment: [N, K] float64.
  virtual Tensor command(const Tensor& action) const = 0;
  /// The action that means `command` [N, K] float64, as somebody else chose it.
  virtual Tensor recorded(const Tensor& command) const = 0;
  /// A command for each key, every possible one as likely as any other: [N, K] float64.
  Tensor uniform(const std::vector<uint64_t>& keys) const;
  /// [...]: log-probability of `action` [..., K] given `output` [..., outputs()], with gradients.
  virtual Tensor logp(const Tensor& output, const Tensor& action) const = 0;
  /// [...]: the entropy, or for a squashed one an estimate of it from `logp`, nats.
  virtual Tensor entropy(const Tensor& output, const Tensor& logp) const = 0;
  // For critics Q(s, a). Throw UserError where actions are not numbers within bounds.
  /// The numbers of `action` [N, K] as critics are told them, scaled to [-1, 1]; with gradients.
  virtual Tensor scaled(const Tensor& action) const;
  /// An action for each row of `output` from standard normal `noise` [N, K], scaled, and its log-density there; both
  /// with gradients of `output` (reparametrised).
  virtual std::pair<Tensor, Tensor> reparametrised(const Tensor& output, const Tensor& noise) const;
  /// The scaled action that is taken where no noise is wanted.
  virtual Tensor middle(const Tensor& output) const;

  /// Trained tensors of its own, under their names in the directory.
  virtual std::vector<std::pair<std::string, Tensor>> tensors() const { return {}; }
  /// The same with tensors of its own that don't change.
  virtual std::unique_ptr<ActionDistribution> frozen_copy() const = 0;

 protected:
  /// Half the range of number k.
  double half_range(int64_t k) const { return 0.5 * (space_.high[k] - space_.low[k]); }
  /// Commands [N, K] float64 to [-1, 1] and back.
  Tensor to_unit(const Tensor& command) const;
  Tensor from_unit(const Tensor& unit) const;
  ActionSpace space_;
};

/// `state_std`: the network gives the standard deviations too.
std::unique_ptr<ActionDistribution> gaussian_distribution(double log_std, bool squash, bool state_std = false);
/// tanh of what the network says, and exploration noise of deviation `noise` (of half the range) around it.
std::unique_ptr<ActionDistribution> deterministic_distribution(double noise);
std::unique_ptr<ActionDistribution> categorical_distribution();

}  // namespace rft
