#pragma once
/// Options of the critic that an objective trains beside the policy.
#include <optional>

#include "rft/core/options.h"

namespace rft {

/// value_loss = value_weight (1/N) sum m max((v - R)^2, (v' - R)^2) / 2,  v' = v kept within value_clip of old_value,
/// v = Evaluation::value, old_value and R extra::old_value and extra::returns (credit gae), N = tokens of the whole
/// optimizer batch. For the first critic_warmup optimizer steps it is all there is, and only the critic learns (a
/// policy that was cloned comes without one; AC-Flow, Fan et al. 2025, arXiv:2510.18072, warms it up so).
struct CriticOptions {
  double value_weight = 0;
  int64_t critic_warmup = 0;
  std::optional<double> value_clip;

  void visit(OptionVisitor& v);
  /// Throws UserError where critic_warmup is given without a critic.
  void check() const;
};

}  // namespace rft
