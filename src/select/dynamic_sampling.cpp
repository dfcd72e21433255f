#include "rft/select/dynamic_sampling.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/ops/groups.h"

namespace rft {

void DynamicSampling::Options::visit(OptionVisitor& v) {
  v.option("max_rounds", max_rounds, "rollouts drawn for one batch at most", at_least(1).in("rollouts"));
}

Needs DynamicSampling::needs() const {
  Needs needs;
  needs.reward = true;
  return needs;
}

Tensor DynamicSampling::select(const Experience& batch, Metrics& metrics) {
  Tensor rewards = ops::row_rewards(batch).cpu().contiguous();
  Tensor index = ops::Groups(batch.group.cpu()).deviation(rewards).gt(1e-8).nonzero().squeeze(1);
  double rows = static_cast<double>(rewards.numel());
  metrics.add("select/kept", static_cast<double>(index.numel()) / std::max(rows, 1.0), rows);
  return index;
}

}  // namespace rft
