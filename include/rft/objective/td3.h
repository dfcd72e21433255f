#pragma once
/// Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, arXiv:1802.09477; Stable-Baselines3's TD3),
/// from decisions (s, a, r, s') that any policy made. With K critics Q, slow copies Q' and of the policy pi':
///   y = r + gamma (1 - terminated) min_k Q'_k(s', pi'(s') + clipped noise)
///   critic_loss = mean sum_k (Q_k(s, batch's action) - y)^2      trains the critics
///   actor_loss  = -mean Q_1(s, pi(s))                            trains the policy, every policy_delay steps
/// Means are over the decisions of the whole optimizer batch that the mask keeps.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Td3 : public Objective {
 public:
  struct Options {
    double gamma = 0.99, tau = 0.005;
    int64_t critics = 2, policy_delay = 2;
    double target_noise = 0.2, target_noise_clip = 0.5;
    void visit(OptionVisitor& v);
  };
  explicit Td3(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void stepped(const Metrics&) override { ++steps_; }
  State state() const override;
  void load_state(const State& state) override;

 private:
  Options options_;
  int64_t steps_ = 0;
};

}  // namespace rft
