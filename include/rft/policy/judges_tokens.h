#pragma once
/// A policy that knows how the tokens of a group's answers pull on each other.
#include "rft/core/experience.h"

namespace rft {

/// Beside Policy, for those that can; owned and called as it is.
class JudgesTokens {
 public:
  struct Influence {
    Tensor influence;  ///< [B, T], extra::token_influence
    Tensor anchor;     ///< [B], extra::influence_anchor
  };
  virtual ~JudgesTokens() = default;
  /// Of a rollout with its advantages and whole groups: its right answers are those whose decisions have positive
  /// advantage on average. Without gradients. Throws UserError where the policy can't say.
  virtual Influence token_influence(const Experience& batch) = 0;
};

}  // namespace rft
