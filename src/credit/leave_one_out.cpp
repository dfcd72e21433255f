#include "rft/credit/leave_one_out.h"

#include <ATen/ATen.h>

#include "credit/rewards.h"

namespace rft {

using namespace credit;

void LeaveOneOut::Options::visit(OptionVisitor& v) {
  RewardOptions::visit(v);
  v.option("normalize", normalize, "whiten the advantages over all rows");
}

LeaveOneOut::LeaveOneOut(Options options) : options_(std::move(options)) { options_.check(); }

Needs LeaveOneOut::needs() const { return options_.needs(); }

void LeaveOneOut::assign(Experience& batch, Metrics& metrics) {
  ops::Groups groups(batch.group);
  Tensor reward = penalised(ops::row_rewards(batch), batch, options_, metrics);
  Tensor baseline = groups.sum(reward).sub(reward).div(groups.valid(reward).sub(1));  // NaN for a row alone
  Tensor advantage = reward.sub(baseline);
  if (options_.normalize)
    advantage = advantage.sub(ops::nan_mean(advantage)).div(ops::nan_deviation(advantage).add(1e-4));
  finish(batch, metrics, groups, advantage, groups.deviation(reward));
}

}  // namespace rft
