#pragma once
/// Policies for control that make an action (or a chunk of them) out of noise, in S steps: x_0 ~ N(0, I), and every
/// step a normal distribution whose mean and deviation come from a network that sees x_k, k and the observation. So the
/// chain x_0, ..., x_S has an exact likelihood, sum_k log N(x_k+1; mean_k, std_k^2), and PPO and its kin train it.
///
/// flow_actor: ReinFlow (Zhang et al. 2025, arXiv:2505.22094). mean_k = x_k + v(x_k, k / S, o) / S, an Euler step of a
/// rectified flow (Liu et al. 2022, arXiv:2209.03003), std_k from a network of its own, between min_std and max_std.
/// `shortcut` tells the velocity how long its step is (Frans et al. 2024, arXiv:2410.12557), so that few steps go far.
/// diffusion_actor: DPPO (Ren et al. 2024, arXiv:2409.00588): the steps of a DDPM (Ho et al. 2020, arXiv:2006.11239)
/// with the cosine schedule, std_k at least min_std.
///
/// Within, an action is between -1 and 1 for the environment's bounds; what goes beyond is clipped on its way to the
/// environment. What is recorded is the chain, action [B, T, S + 1, K]. A greedy decision leaves the noise of the steps
/// out (ddpm: all but the last step's is small and stays), as both papers evaluate; x_0 is drawn all the same.
///
/// A rollout's rows are the environment's decisions, their logp the chain's. Cut into decisions (`decision: step`,
/// DPPO's two-level process) a row is one chain of S columns: action [N, S, K] holds the sample after each step,
/// extra::start [N, K] (context) x_0, logp [N, S] each step's, and column k's advantage is multiplied by
/// denoising_gamma^(S - 1 - k). With `decision: chain` (ReinFlow) it is one column, with the chain's logp.
///
/// With `critic: steps` (AC-Flow's critic of what lies between noise and action, Fan et al. 2025, arXiv:2510.18072) the
/// critic sees x_k and k beside the observation: V(o, x_k, k), of x_0 nothing, since nothing was decided yet. Credit is
/// then assigned to the steps, each of which changes what is expected: the action's reward comes with the last one, and
/// between the steps of a chain no time passes (extra::duration is 0), so that gamma counts the environment's steps as
/// ever; gae's lambda counts the chain's too.
///
/// `judge: forward` (with `decision: step`) judges a step by how far the network is from saying, at x_k, what leads
/// straight to the chain's last sample: logp_k is minus the mean squared difference. Objectives of weighted likelihood
/// learn from that (rwr: AC-Flow's critic-weighted flow matching); it is no density, so ratios of it mean nothing.
///
/// With `trained_steps` below denoising_steps (DPPO's ft_denoising_steps) a rollout's earlier steps are those of the
/// network as it was when the stage began, kept as it is; what they come to is the chain's x_0, and S the number of
/// steps that are left, which are learned. Demonstrations teach all steps.
///
/// logp of a demonstration [B, T] is the negative error of what the network predicts for a noised action, averaged over
/// its numbers; level and noise are determined by extra::draw.
///
/// A directory's tensors: "step.N.weight", "step.N.bias" (the network of the steps), "frozen_step.N..." (that of the
/// earlier ones, where it differs), "noise.N..." (flow_actor), "critic.N..".
#include <memory>
#include <optional>

#include "rft/nn/mlp.h"
#include "rft/policy/credits_steps.h"
#include "rft/policy/network_actor.h"

namespace rft {

class ChainActor : public NetworkActor, public CreditsSteps {
 public:
  struct Options : NetworkActor::Options {
    int64_t denoising_steps = 4, trained_steps = 0;
    std::string decision = "chain", critic = "observation";
    double denoising_gamma = 0.99;
    std::optional<double> clip = 1;
    std::string logp = "sum";
    std::vector<double> logp_range;
    std::string judge = "chain";
    bool start_logp = false;
    void visit(OptionVisitor& v);
  };

  Decisions act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) override;
  Tensor value(const Tensor& observation, bool is_observed) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  Experience for_credit(Experience rollout) const override;
  Experience decisions(const Experience& batch) const override;

 protected:
  struct Networks {
    Mlp step, noise;
  };
  /// N(mean, exp(log_std)^2) of M steps; log_std [M, K] or a shape that becomes it.
  struct StepNormal {
    Tensor mean, log_std;
  };

  explicit ChainActor(const Options& options);
  /// Numbers that the network of the steps is told of when, and that the one of the noise is; 0: there is none.
  virtual int64_t step_features() const = 0;
  virtual int64_t noise_features() const { return 0; }
  /// Step k [M] int64 of the chains that stand at x [M, K].
  virtual StepNormal step(const Networks& networks, const Tensor& x, const Tensor& observation,
                          const Tensor& k) const = 0;
  /// The deviation of step k of a greedy decision.
  virtual double greedy_std(int64_t k) const = 0;
  /// What the network says at step k [M] of chains that stand at x [M, K], and what it should say there were x mixed of
  /// noise and of `clean` [M, K]; [M, K] each.
  struct Answer {
    Tensor given, right;
  };
  virtual Answer answer(const Networks& networks, const Tensor& x, const Tensor& clean, const Tensor& observation,
                        const Tensor& k) const = 0;
  /// [M]: how wrong the network is about clean actions [M, K] that it sees noised; row i's numbers are those of
  /// keys[i].
  virtual Tensor error(const Networks& networks, const Tensor& clean, const Tensor& observation,
                       const std::vector<uint64_t>& keys) const = 0;

  int64_t steps() const { return options_.denoising_steps; }
  /// The first step of a chain: those before it are frozen.
  int64_t first_step() const { return frozen_.step.empty() ? 0 : steps() - options_.trained_steps; }
  int64_t chain_steps() const { return steps() - first_step(); }
  int64_t size() const { return world().action.size(); }
  const Options& options() const { return options_; }

  void check(const EnvironmentSpec& world) const override;
  void build(const Needs& needs, uint64_t seed) override;
  void keep_reference() override;
  NamedTensors tensors() const override;
  NamedTensors followers() const override;
  void begin(const std::string& kind) override;
  NamedTensors reference_tensors() const override;
  virtual std::vector<int64_t> noise_widths() const { return {}; }

 private:
  /// What the steps of M chains came to.
  struct Judged {
    Tensor logp, entropy;  ///< [M, S]
  };
  Judged judge(const Networks& networks, const Tensor& before, const Tensor& after, const Tensor& observation) const;
  Tensor step_logp(const StepNormal& normal, const Tensor& next) const;
  Tensor over_steps(const Tensor& steps, const Tensor& start) const;
  Tensor start_term(const Tensor& start) const;
  bool judges_forward() const { return options_.judge == "forward"; }
  bool values_steps() const { return options_.critic == "steps"; }
  Tensor step_value(const Tensor& before, const Tensor& observation) const;
  void rejudge(Experience& steps) const;
  Experience cut_steps(const Experience& credited) const;
  Evaluation judge_rollout(const Networks& networks, const Experience& batch) const;
  Evaluation judge_forward(const Networks& networks, const Experience& batch, bool estimates) const;
  Evaluation judge_demonstrations(const Networks& networks, const Experience& batch) const;
  Evaluation judge(const Networks& networks, const Experience& batch, bool estimates = false) const;
  Tensor command(const Tensor& x) const;
  Tensor scaled(const Tensor& action) const;

  static Networks copy_of(const Networks& networks);

  Options options_;
  Networks networks_, reference_, frozen_;
  Mlp critic_;
};

class FlowActor : public ChainActor {
 public:
  struct Options : ChainActor::Options {
    double min_std = 0.1, max_std = 0.24;
    std::vector<double> noise_hidden{32};
    bool shortcut = false;
    double consistency = 0.25;
    int64_t consistency_levels = 3;
    void visit(OptionVisitor& v);
  };
  explicit FlowActor(Options options);

 protected:
  int64_t step_features() const override;
  int64_t noise_features() const override;
  std::vector<int64_t> noise_widths() const override;
  StepNormal step(const Networks& networks, const Tensor& x, const Tensor& observation, const Tensor& k) const override;
  double greedy_std(int64_t) const override { return 0; }
  Answer answer(const Networks& networks, const Tensor& x, const Tensor& clean, const Tensor& observation,
                const Tensor& k) const override;
  Tensor error(const Networks& networks, const Tensor& clean, const Tensor& observation,
               const std::vector<uint64_t>& keys) const override;
  std::string kind() const override { return "flow_actor"; }
  std::vector<std::pair<std::string, int64_t>> settings() const override;

 private:
  Tensor velocity(const Networks& networks, const Tensor& x, const Tensor& t, const Tensor& length,
                  const Tensor& observation) const;

  Options flow_;
};

class DiffusionActor : public ChainActor {
 public:
  struct Options : ChainActor::Options {
    Options() { denoising_steps = 10, decision = "step"; }
    double min_std = 0.1;
    void visit(OptionVisitor& v);
  };
  explicit DiffusionActor(Options options);

 protected:
  int64_t step_features() const override;
  StepNormal step(const Networks& networks, const Tensor& x, const Tensor& observation, const Tensor& k) const override;
  double greedy_std(int64_t k) const override;
  Answer answer(const Networks& networks, const Tensor& x, const Tensor& clean, const Tensor& observation,
                const Tensor& k) const override;
  Tensor error(const Networks& networks, const Tensor& clean, const Tensor& observation,
               const std::vector<uint64_t>& keys) const override;
  std::string kind() const override { return "diffusion_actor"; }
  std::vector<std::pair<std::string, int64_t>> settings() const override;

 private:
  /// Of each step [S], from the noisiest: x_0 = clean x - noise e, mean = of_clean x_0 + of_sample x.
  struct Schedule {
    Tensor clean, noise, of_clean, of_sample, log_std;
    Tensor signal, spread;  ///< of a noised action: signal a + spread e
    std::vector<double> own_std;
  };
  static Schedule schedule(int64_t steps, double min_std);
  Tensor predicted_noise(const Networks& networks, const Tensor& x, const Tensor& observation, const Tensor& k) const;

  Schedule schedule_;
};

}  // namespace rft
