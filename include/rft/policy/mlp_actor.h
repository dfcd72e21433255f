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
/// A directory holds config.json (the options, the world's sizes) and model.safetensors: "actor.N.weight",
/// "actor.N.bias" (N = 0, 1, ...), "critic.N...", "log_std" [K], "q.K.N..." and the slow "slow_q.K.N...",
/// "slow_actor.N...", and the observations' running moments "observation.mean" and "observation.variance" [D],
/// "observation.count" [1] (float64).
#include <memory>

#include "rft/core/running_moments.h"
#include "rft/nn/mlp.h"
#include "rft/policy/actor.h"

namespace rft {

class ActionDistribution;
class QCritics;

class MlpActor : public Actor {
 public:
  struct Options {
    std::string path;
    std::vector<double> hidden{64, 64};
    std::string activation = "tanh";
    bool normalize_observations = true;
    void visit(OptionVisitor& v);
  };
  ~MlpActor() override;

  void enter(const EnvironmentSpec& world, const Needs& needs, uint64_t seed) override;
  Decisions act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) override;
  Decisions random(const Tensor& observation, const std::vector<uint64_t>& keys) override;
  Tensor value(const Tensor& observation, bool observed) override;

  /// Rows {"observations": [[..], ..], "actions": [[..], ..]} of one episode each, as imitation learns from. An actor
  /// that has observed nothing yet takes its running moments from them.
  Experience demonstrations(const Rows& rows) override;
  void visit_rollout(OptionVisitor&) override {}
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  void stepped(int64_t step) override;
  std::vector<Parameter> parameters() override;
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;
  State state() const override;
  void load_state(const State& state) override;

 protected:
  MlpActor(Options options, std::unique_ptr<ActionDistribution> distribution);
  /// Throws UserError where this kind of actor can't act in `world`.
  virtual void check(const EnvironmentSpec& world) const = 0;
  const Options& options() const { return options_; }

 private:
  void estimate(const Experience& batch, const Needs& needs, Evaluation& out) const;
  Tensor other_actions(const Tensor& observation, const Tensor& next, const std::vector<uint64_t>& keys, int64_t count,
                       Tensor& logp) const;
  /// What is trained, and what follows it.
  std::vector<std::pair<std::string, Tensor>> tensors() const;
  std::vector<std::pair<std::string, Tensor>> slow_tensors() const;
  Tensor normalized(const Tensor& observation) const;
  Tensor output_of(const Mlp& network, const Tensor& observation) const;
  std::string config_json() const;

  Options options_;
  std::unique_ptr<ActionDistribution> distribution_, reference_distribution_;
  EnvironmentSpec world_;
  Mlp actor_, critic_, reference_, slow_actor_;
  std::unique_ptr<QCritics> q_;
  std::optional<QNeeds> q_needs_;
  RunningMoments moments_;
};

class GaussianActor : public MlpActor {
 public:
  struct Options : MlpActor::Options {
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
  struct Options : MlpActor::Options {
    double noise = 0.1;
    void visit(OptionVisitor& v);
  };
  explicit DeterministicActor(Options options);

 protected:
  void check(const EnvironmentSpec& world) const override;
};

class CategoricalActor : public MlpActor {
 public:
  struct Options : MlpActor::Options {};
  explicit CategoricalActor(Options options);

 protected:
  void check(const EnvironmentSpec& world) const override;
};

}  // namespace rft
