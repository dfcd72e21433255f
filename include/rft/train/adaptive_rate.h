#pragma once
/// A learning rate that follows how far the policy moves: rsl_rl's PPO (Schwarke et al. 2025, arXiv:2509.10771;
/// `schedule="adaptive"`).
#include "rft/core/metrics.h"
#include "rft/core/state.h"
#include "rft/train/options.h"

namespace rft {

class AdaptiveRate : public Stateful {
 public:
  /// Begins at `lr`. Throws UserError where `schedule` has a warm-up or a floor of the other types, or `lr` lies
  /// outside [min_lr, max_lr].
  AdaptiveRate(const ScheduleOptions& schedule, double lr);

  double rate() const { return rate_; }
  /// The rate of a step, of what the objective found in that step's batch: "approx_kl" (nats a decision, the present
  /// policy against the one that acted) above 2 desired_kl: rate / 1.5; below desired_kl / 2: rate * 1.5; within
  /// [min_lr, max_lr]. Throws UserError where there is no such metric. Not to be asked on a rollout's first step, where
  /// the two policies are one and the same.
  double next(const Metrics& found);

  State state() const override;
  void load_state(const State& state) override;

 private:
  ScheduleOptions schedule_;
  double rate_;
};

}  // namespace rft
