#pragma once
/// Options of a credit that change the reward before it is compared with others.
#include <string>
#include <vector>

#include "rft/core/experience.h"
#include "rft/core/options.h"

namespace rft {

/// Rewards are clipped to reward_clip, then lowered by kl_weight times the row's summed KL to the reference.
struct RewardOptions {
  double kl_weight = 0;
  std::string kl_estimator = "k1";
  std::vector<double> reward_clip;

  void visit(OptionVisitor& v);
  /// Throws UserError where reward_clip is not [low, high].
  void check() const;
  /// The reward, and the reference where its KL is taken off.
  Needs needs() const;
};

}  // namespace rft
