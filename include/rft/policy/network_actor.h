#pragma once
/// What actors made of networks share: observations that are normalised, demonstrations, directories, a reference.
///
/// A directory holds config.json (the kind, its sizes) and model.safetensors: the networks' tensors, and the
/// observations' running moments "observation.mean" and "observation.variance" [D], "observation.count" [1] (float64).
#include <string>
#include <utility>
#include <vector>

#include "rft/core/running_moments.h"
#include "rft/policy/actor.h"

namespace rft {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

class NetworkActor : public Actor {
 public:
  struct Options {
    std::string path;
    std::vector<double> hidden{64, 64};
    std::string activation = "tanh";
    bool normalize_observations = true;
    void visit(OptionVisitor& v);
  };

  void enter(const EnvironmentSpec& world, const Needs& needs, uint64_t seed) override;
  /// Rows {"observations": [[..], ..], "actions": [[..], ..]} of one episode each, as imitation learns from; where a
  /// decision is a chunk of actions, those that follow every observation. An actor that has observed nothing yet takes
  /// its running moments from them.
  Experience demonstrations(const Rows& rows) override;
  void visit_rollout(OptionVisitor&) override {}
  std::vector<Parameter> parameters() override;
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;
  State state() const override;
  void load_state(const State& state) override;

 protected:
  explicit NetworkActor(const Options& options) : base_(options) {}
  /// Throws UserError where this kind of actor can't act in `world`.
  virtual void check(const EnvironmentSpec& world) const = 0;
  /// Makes the networks, untrained, and a critic where needs.value.
  virtual void build(const Needs& needs, uint64_t seed) = 0;
  /// Keeps what decides now as the reference.
  virtual void keep_reference() = 0;
  /// What is trained, under its names in the directory; critics' begin with "critic." or "q.".
  virtual NamedTensors tensors() const = 0;
  /// What follows it, or stays as it was, and is kept with it: "slow_q.0.0.weight", "frozen_step.0.weight".
  virtual NamedTensors followers() const { return {}; }
  /// load() found a directory without the followers (or critics) whose names begin with `kind`, "frozen_step.".
  virtual void begin(const std::string& kind) { (void)kind; }
  /// The action to judge, of one [L, action.size()] that was shown.
  virtual Tensor recorded(const Tensor& action) const { return action; }
  /// The reference's; empty where there is none.
  virtual NamedTensors reference_tensors() const = 0;
  /// "flow_actor": the kind, as config.json says it.
  virtual std::string kind() const = 0;
  /// Whole numbers that the weights only make sense with; load() compares them.
  virtual std::vector<std::pair<std::string, int64_t>> settings() const { return {}; }

  const EnvironmentSpec& world() const { return world_; }
  const Options& base() const { return base_; }
  /// Logits [..., choices] in which those that `observation` does not allow can't be chosen; anything where all are.
  Tensor possible(const Tensor& output, const Tensor& observation) const;
  /// Widths of a network with the hidden layers of the options.
  std::vector<int64_t> widths(int64_t in, int64_t out) const;
  /// Raw observations [N, D] float64 as the networks see them, [N, D] float32. `learn`: the moments take them in first.
  Tensor observed(const Tensor& raw, bool learn);

 private:
  Tensor normalized(const Tensor& raw) const;
  std::string config_json() const;
  void check_config(const std::string& directory) const;

  Options base_;
  EnvironmentSpec world_;
  RunningMoments moments_;
};

/// What the layers of `first` and `second` are called, one list after the other.
NamedTensors joined(NamedTensors first, const NamedTensors& second);

}  // namespace rft
