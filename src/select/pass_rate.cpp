#include "rft/select/pass_rate.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/error.h"
#include "rft/ops/groups.h"

namespace rft {

void PassRate::Options::visit(OptionVisitor& v) {
  v.option("min", min, "groups of a lower mean reward are dropped: nobody can solve them yet");
  v.option("max", max, "groups of a higher mean reward are dropped: they are solved");
  v.option("max_rounds", max_rounds, "rollouts drawn for one batch at most", at_least(1).in("rollouts"));
}

PassRate::PassRate(Options options) : options_(options) {
  if (options_.min > options_.max)
    bad_input("select", "min must not be above max; got ", options_.min, " and ", options_.max);
}

Needs PassRate::needs() const {
  Needs needs;
  needs.reward = true;
  return needs;
}

Tensor PassRate::select(const Experience& batch, Metrics& metrics) {
  Tensor rewards = ops::row_rewards(batch).cpu();
  Tensor rate = ops::Groups(batch.group.cpu()).mean(rewards);
  Tensor index = rate.ge(options_.min).logical_and(rate.le(options_.max)).nonzero().squeeze(1);
  double rows = static_cast<double>(rewards.numel());
  metrics.add("select/kept", static_cast<double>(index.numel()) / std::max(rows, 1.0), rows);
  Tensor known = rate.masked_select(rate.isnan().logical_not());
  if (known.numel() > 0)
    metrics.add("select/pass_rate", known.mean().item<double>(), static_cast<double>(known.numel()));
  return index;
}

}  // namespace rft
