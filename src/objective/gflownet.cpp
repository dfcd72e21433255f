#include "rft/objective/gflownet.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/ops/groups.h"

namespace rft {

using namespace objective;

namespace {

/// [B]: sum over pairs i < j of the squared balance between columns i and j, weighted. `along` [B, T + 1]: the sums of
/// the first 0, 1, ..., T differences; `length` [B].
Tensor over_pairs(const Tensor& along, const Tensor& length, double lambda) {
  int64_t T = along.size(1) - 1;
  Tensor step = at::arange(T + 1, along.options());
  Tensor distance = step.unsqueeze(0).sub(step.unsqueeze(1));  // j - i
  Tensor weight = at::pow(at::scalar_tensor(lambda, along.options()), distance.clamp_min(0)).mul(distance.gt(0));
  Tensor within = step.unsqueeze(0).le(length.unsqueeze(1)).unsqueeze(1);  // j <= length
  Tensor weights = weight.unsqueeze(0).mul(within);
  Tensor squares = along.unsqueeze(1).sub(along.unsqueeze(2)).square();
  return squares.mul(weights).sum({1, 2}).div(weights.sum({1, 2}).clamp_min(1e-12));
}

void check_together(const Tensor& mask) {
  Tensor restarted = mask.narrow(1, 1, mask.size(1) - 1).logical_and(mask.narrow(1, 0, mask.size(1) - 1).logical_not());
  if (restarted.any().item<bool>())
    run_failed("gflownet", "a row's decisions must stand together from its first column on, without tool output");
}

}  // namespace

void GFlowNet::Options::visit(OptionVisitor& v) {
  v.option("balance", balance, "what must balance: whole trajectories, single steps, or all pieces of trajectories",
           one_of({"tb", "db", "subtb"}));
  v.option("subtb_lambda", subtb_lambda, "weight of a piece one step longer (subtb)", above(0));
  v.option("reward_exponent", reward_exponent, "objects are made in proportion to the reward to this power", above(0));
  v.option("reward_floor", reward_floor, "rewards below count as this", above(0));
  v.option("log_reward", log_reward, "rewards are logarithms already");
}

Needs GFlowNet::needs() const {
  Needs needs;
  needs.reward = needs.value = true;
  return needs;
}

Tensor GFlowNet::log_reward(const Experience& batch) const {
  Tensor reward = ops::row_rewards(batch);
  if (!options_.log_reward) reward = reward.clamp_min(options_.reward_floor).log();
  return reward.mul(options_.reward_exponent);
}

Loss GFlowNet::loss(const Evaluation& now, const Experience& batch) const {
  if (batch.mask.size(1) > 1) check_together(batch.mask);
  Columns c = read_columns(now, batch, batch.mask);
  Tensor flow = zero_where_masked(required(now.value, "value", "gflownet").to(c.logp.options()), batch.mask);
  Tensor target = log_reward(batch).to(c.logp.options()), rewarded = target.isnan().logical_not();
  target = zero_where_masked(target, rewarded);
  Tensor length = batch.mask.sum(1), kept = rewarded.logical_and(length.gt(0));
  Tensor forward = c.logp;
  if (Tensor back = batch.extra.find(extra::backward_logp); back.defined())
    forward = forward.sub(zero_where_masked(back.to(c.logp.options()), batch.mask));

  Tensor start = flow.select(1, 0), each;
  if (options_.balance == "tb") {
    each = start.add(forward.sum(1)).sub(target).square();
  } else {
    // What follows a decision: the next state's flow, or what the object is worth.
    Tensor last = at::zeros_like(flow).scatter(1, length.sub(1).clamp_min(0).unsqueeze(1), target.unsqueeze(1));
    Tensor after = at::cat({flow.narrow(1, 1, flow.size(1) - 1), at::zeros_like(start).unsqueeze(1)}, 1).add(last);
    Tensor difference = zero_where_masked(flow.add(forward).sub(after), batch.mask);
    if (options_.balance == "db")
      each = row_mean(difference.square(), c.weight).squeeze(1);
    else
      each = over_pairs(at::cat({at::zeros_like(start).unsqueeze(1), difference.cumsum(1)}, 1), length,
                        options_.subtb_lambda);
  }
  Loss out(zero_where_masked(each, kept).sum().div(std::max(batch.totals.rows, 1.0)));
  auto metric = [&](const char* name, const Tensor& x) {
    Tensor some = x.detach().masked_select(kept);
    if (some.numel()) out.metrics.add(name, some.mean().item<double>(), static_cast<double>(some.numel()));
  };
  metric("flow_loss", each), metric("log_z", start), metric("log_reward", target);
  return out;
}

}  // namespace rft
