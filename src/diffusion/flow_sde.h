#pragma once
/// Stochastic steps of flow models: samples x = (1 - sigma) clean + sigma noise, velocity v = noise - clean.
#include <string>
#include <vector>

#include "rft/diffusion/scheduler.h"

namespace rft {

/// From level `from` down to `to`, with standard deviation per the method and `eta`.
struct FlowStep {
  double from, to;
  double below_one;  ///< the run's second level: stands in for 1 where a formula divides by 1 - sigma
};

/// "flow_grpo", "dance", "cps".
const std::vector<std::string>& flow_sde_names();

/// Throws UserError for an unknown `sde` or an eta out of its range (cps: 0 to 1; others: not negative).
Transition flow_sde_step(const std::string& sde, double eta, const FlowStep& step, const Tensor& velocity,
                         const Tensor& x);

}  // namespace rft
