#pragma once
/// A policy for control that takes the choice of which it expects most, and now and then any: what deep Q-learning
/// trains (objective dqn).
#include "rft/nn/mlp.h"
#include "rft/policy/network_actor.h"

namespace rft {

/// With a probability that falls with the decisions it makes while it learns (`epsilon` to `last_epsilon`) a choice is
/// drawn uniformly; logp is that of the whole, epsilon / choices + (1 - epsilon) for the best one. Choices that are not
/// allowed are not made. It learns from observations as they are.
///
/// A directory is a NetworkActor's; its tensors are "q.N.weight", "q.N.bias" (N = 0, 1, ...), the slow copy's
/// "slow_q.N...", and "slow_epsilon" [1], the probability as it stood.
class QNetwork : public NetworkActor {
 public:
  struct Options : NetworkActor::Options {
    double epsilon = 1, last_epsilon = 0.05;
    int64_t epsilon_decisions = 10000;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where last_epsilon is above epsilon.
  explicit QNetwork(Options options);
  Decisions act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) override;
  Decisions random(const Tensor& observation, const std::vector<uint64_t>& keys) override;
  Tensor value(const Tensor& observation, bool is_observed) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  void stepped(int64_t step) override;

 protected:
  void check(const EnvironmentSpec& world) const override;
  void build(const Needs& needs, uint64_t seed) override;
  void keep_reference() override {}
  NamedTensors tensors() const override { return trained_.tensors("q"); }
  NamedTensors reference_tensors() const override { return {}; }
  NamedTensors followers() const override;
  Tensor recorded(const Tensor& action) const override { return action.to(at::kLong); }
  std::string kind() const override { return "q_network"; }

 private:
  Tensor of_choices(const Mlp& network, const Tensor& observation) const;
  Decisions decide(const Tensor& observation, const std::vector<uint64_t>& keys, double epsilon) const;
  double exploring(int64_t decisions, bool learn) const;

  Options options_;
  Mlp trained_, slow_;
  Tensor epsilon_;  ///< [1] float64
  QNeeds q_needs_;
};

}  // namespace rft
