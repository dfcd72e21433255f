#pragma once
/// Policies for control with multi-layer perceptrons, as Stable-Baselines3's MlpPolicy: one network decides, one (of
/// its own) expects the return.
///
/// gaussian: an action is drawn from N(mean(observation), std^2), with a std of its own for every number of the action;
/// `squash` sends it through tanh to the action's bounds (the log-probability is that of the squashed action, SAC's
/// change of variables: Haarnoja et al. 2018, arXiv:1801.01290, appendix C), otherwise what lies beyond the bounds is
/// clipped on its way to the environment. categorical: one of the action's choices by softmax. deterministic: tanh of
/// what the network says, with Gaussian noise for exploration (TD3, Fujimoto et al. 2018, arXiv:1802.09477).
///
/// Where an objective asks for critics Q(s, a) (Needs::q) there are K of them, and slow copies. They learn from
/// observations as they are, so those are not normalised then.
///
/// A directory is a NetworkActor's; its tensors are "actor.N.weight", "actor.N.bias" (N = 0, 1, ...), "critic.N...",
/// "log_std" [K], "q.K.N..." and the slow "slow_q.K.N...", "slow_actor.N...".
#include <memory>
#include <optional>

#include "rft/nn/mlp.h"
#include "rft/policy/network_actor.h"

namespace rft {

class ActionDistribution;
class QCritics;

class MlpActor : public NetworkActor {
 public:
  ~MlpActor() override;
  Decisions act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) override;
  Decisions random(const Tensor& observation, const std::vector<uint64_t>& keys) override;
  Tensor value(const Tensor& observation, bool is_observed) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  void stepped(int64_t step) override;

 protected:
  MlpActor(const Options& options, std::unique_ptr<ActionDistribution> distribution);
  void build(const Needs& needs, uint64_t seed) override;
  void keep_reference() override;
  NamedTensors tensors() const override;
  NamedTensors reference_tensors() const override;
  NamedTensors followers() const override;
  Tensor recorded(const Tensor& action) const override;
  std::string kind() const override;

 private:
  Mlp network(int64_t in, int64_t out, double last_gain, uint64_t seed) const;
  Tensor output_of(const Mlp& network, const Tensor& observation) const;
  void estimate(const Experience& batch, const Needs& needs, Evaluation& out) const;
  Tensor other_actions(const Tensor& observation, const Tensor& next, const std::vector<uint64_t>& keys, int64_t count,
                       Tensor& logp) const;

  std::unique_ptr<ActionDistribution> distribution_, reference_distribution_;
  Mlp actor_, critic_, reference_, slow_actor_;
  std::unique_ptr<QCritics> q_;
  std::optional<QNeeds> q_needs_;
};

class GaussianActor : public MlpActor {
 public:
  struct Options : NetworkActor::Options {
    double log_std = 0;
    bool squash = false, state_std = false;
    void visit(OptionVisitor& v);
  };
  explicit GaussianActor(Options options);

 protected:
  void check(const EnvironmentSpec& world) const override;
};

class DeterministicActor : public MlpActor {
 public:
  struct Options : NetworkActor::Options {
    double noise = 0.1;
    void visit(OptionVisitor& v);
  };
  explicit DeterministicActor(Options options);

 protected:
  void check(const EnvironmentSpec& world) const override;
};

class CategoricalActor : public MlpActor {
 public:
  struct Options : NetworkActor::Options {};
  explicit CategoricalActor(Options options);

 protected:
  void check(const EnvironmentSpec& world) const override;
};

}  // namespace rft
