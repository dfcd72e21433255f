#pragma once
/// An actor that has credit assigned to the steps in which it makes a decision.
#include "rft/core/experience.h"

namespace rft {

/// Beside Actor. Called by the rollout, without gradients, once the rewards are known and before credit is assigned.
class CreditsSteps {
 public:
  virtual ~CreditsSteps() = default;
  /// The record of a rollout as it is, or with a column for each step that a decision was made in: mask, logp, reward
  /// and extra::last, duration, old_value and next_value are then those of the steps.
  virtual Experience for_credit(Experience rollout) const = 0;
};

}  // namespace rft
