#include "rft/credit/optimal_value.h"

#include <ATen/ATen.h>

#include "credit/rewards.h"

namespace rft {

using namespace credit;

void OptimalValue::Options::visit(OptionVisitor& v) {
  v.option("beta", beta, "weight of the KL penalty that V* is the value under, in units of the reward", above(0));
  v.option("importance", importance, "weigh the group's rows as samples of the policy rather than of the reference");
}

Needs OptimalValue::needs() const {
  Needs needs;
  needs.reward = true;
  needs.ref_logp = options_.importance;
  return needs;
}

void OptimalValue::assign(Experience& batch, Metrics& metrics) {
  ops::Groups groups(batch.group);
  Tensor reward = ops::row_rewards(batch);
  Tensor weight = options_.importance ? reference_log_weight(batch) : Tensor();
  Tensor value = group_log_mean_exp(groups, reward.div(options_.beta), weight).mul(options_.beta);
  finish(batch, metrics, groups, reward.sub(value), groups.deviation(reward));
}

}  // namespace rft
