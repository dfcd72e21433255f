#include "rft/credit/group_normalized.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "credit/rewards.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace credit;

struct Scored {
  Tensor advantage;  ///< [B]
  Tensor deviation;  ///< [B], what it was divided by, or would have been
};

Scored sum_then_normalize(const Tensor& reward, const ops::Groups& groups, const GroupNormalized::Options& options) {
  Tensor deviation = options.scale == "batch" ? ops::nan_deviation(reward).expand_as(reward) : groups.deviation(reward);
  Tensor advantage = reward.sub(groups.mean(reward));
  if (options.scale != "none") advantage = advantage.div(deviation.add(options.eps));
  return {advantage, deviation};
}

Scored normalize_then_sum(const Experience& batch, const ops::Groups& groups, double eps) {
  Tensor values = batch.extra.tensor(extra::reward_components).to(at::kDouble);
  Tensor weights = batch.extra.tensor(extra::reward_weights).to(at::kDouble);
  Tensor total = at::zeros({values.size(0)}, values.options());
  for (int64_t k = 0; k < values.size(1); ++k) {
    Tensor value = values.select(1, k);
    Tensor z = value.sub(groups.mean(value)).div(groups.deviation(value).add(eps));
    // A component that is NaN says nothing of its row; one that stands alone in its group says nothing either.
    total = total.add(z.mul(weights.select(1, k)).nan_to_num(0.0));
  }
  total = total.masked_fill(values.isnan().all(1), std::nan(""));
  Tensor deviation = ops::nan_deviation(total).expand_as(total);
  return {total.sub(ops::nan_mean(total)).div(deviation.add(eps)), deviation};
}

}  // namespace

void GroupNormalized::Options::visit(OptionVisitor& v) {
  v.option("scale", scale, "divide by the standard deviation of the group, of the whole batch, or not at all",
           one_of({"group", "batch", "none"}));
  v.option("aggregation", aggregation, "several rewards: add them and normalise, or normalise each and add",
           one_of({"sum_then_normalize", "normalize_then_sum"}));
  v.option("eps", eps, "added to the standard deviation", at_least(0));
  v.option("rescale", rescale, "make up for the groups whose rewards are all equal, which teach nothing (GPG)");
  RewardOptions::visit(v);
}

GroupNormalized::GroupNormalized(Options options) : options_(std::move(options)) {
  options_.check();
  if (options_.aggregation == "normalize_then_sum" && (options_.kl_weight != 0 || !options_.reward_clip.empty()))
    bad_input("credit", "kl_weight and reward_clip need aggregation sum_then_normalize; got normalize_then_sum");
}

Needs GroupNormalized::needs() const { return options_.needs(); }

void GroupNormalized::assign(Experience& batch, Metrics& metrics) {
  ops::Groups groups(batch.group);
  Scored scored =
      options_.aggregation == "normalize_then_sum"
          ? normalize_then_sum(batch, groups, options_.eps)
          : sum_then_normalize(penalised(ops::row_rewards(batch), batch, options_, metrics), groups, options_);
  if (options_.rescale) {
    double teach = groups.deviation(ops::row_rewards(batch)).gt(1e-8).sum().item<double>();
    scored.advantage = scored.advantage.mul(static_cast<double>(batch.rows()) / std::max(teach, 1.0));
  }
  finish(batch, metrics, groups, scored.advantage, scored.deviation);
}

}  // namespace rft
