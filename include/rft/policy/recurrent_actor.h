#pragma once
/// A policy for control that remembers: a recurrent layer and behind it a multi-layer perceptron decide, another pair
/// (of its own) expects the return, as sb3-contrib's RecurrentPPO with MlpLstmPolicy. An action is drawn from a normal
/// distribution or, where it is one of several choices, by softmax, as with `gaussian` and `categorical`.
///
/// What an agent remembers is kept by who runs it and is zero where an episode begins. Rows are segments (or episodes):
/// context extra::memory is what was remembered when a row's first decision came, and the judge runs the recurrence
/// along the row again from there, over episodes' ends (extra::last) from zero. So rows can't be cut into decisions,
/// and rollout.steps is how far gradients go back in time.
///
/// A directory's tensors: "actor.cell.*", "actor.N.*", "log_std", "critic.cell.*", "critic.N.*".
#include <memory>

#include "rft/nn/mlp.h"
#include "rft/nn/recurrent.h"
#include "rft/policy/network_actor.h"

namespace rft {

class ActionDistribution;

class RecurrentActor : public NetworkActor {
 public:
  struct Options : NetworkActor::Options {
    std::string cell = "lstm";
    int64_t memory_size = 64;
    double log_std = 0;
    bool squash = false;
    void visit(OptionVisitor& v);
  };
  explicit RecurrentActor(Options options);
  ~RecurrentActor() override;

  int64_t memory() const override;
  Decisions act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) override;
  Decisions act_from(const Tensor& memory, const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy,
                     bool learn) override;
  Tensor value(const Tensor& observation, bool is_observed) override;
  Tensor value_from(const Tensor& memory, const Tensor& observation) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;

 protected:
  void check(const EnvironmentSpec&) const override {}
  void build(const Needs& needs, uint64_t seed) override;
  void keep_reference() override;
  NamedTensors tensors() const override;
  NamedTensors reference_tensors() const override;
  Tensor recorded(const Tensor& action) const override;
  std::string kind() const override { return "recurrent"; }
  std::vector<std::pair<std::string, int64_t>> settings() const override;

 private:
  struct Branch {
    Recurrent cell;
    Mlp head;
    NamedTensors tensors(const std::string& name) const;
    Branch frozen_copy() const { return {cell.frozen_copy(), head.frozen_copy()}; }
  };
  Branch branch(int64_t out, double last_gain, uint64_t seed) const;
  Tensor along(const Branch& branch, const Experience& batch, int64_t memory_from) const;
  int64_t actor_memory() const { return actor_.cell.state_size(); }

  Options options_;
  std::unique_ptr<ActionDistribution> distribution_, reference_distribution_;
  Branch actor_, critic_, reference_;
};

}  // namespace rft
