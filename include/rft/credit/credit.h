#pragma once
/// Credit: turns rewards into advantages, decision by decision.
#include "rft/core/experience.h"
#include "rft/core/metrics.h"
#include "rft/core/state.h"

namespace rft {

/// Called by the trainer once a rollout, on the training thread, with all rows of the rollout (whole groups).
class Credit : public Stateful {
 public:
  virtual Needs needs() const { return {}; }
  /// Reads batch.reward (NaN = could not be computed), group, logp, ref_logp; sets batch.advantage [B, T] and
  /// extra::reward_std [B]. A row whose reward is NaN gets advantage 0. Adds `reward`, `reward_std`,
  /// `frac_reward_zero_std` to `metrics`.
  virtual void assign(Experience& batch, Metrics& metrics) = 0;
};

}  // namespace rft
