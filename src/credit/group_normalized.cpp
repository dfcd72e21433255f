#include "rft/credit/group_normalized.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

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

/// [B]: what TempSamp-R1 makes of rewards.
Tensor shaped(const Tensor& reward, double threshold, double gain, double steepness) {
  Tensor above = reward.sub(threshold).clamp_min(0).log1p().mul(gain);
  Tensor below = reward.neg().add(threshold).clamp_min(0).mul(steepness).expm1().div(std::expm1(steepness));
  return above.sub(below).add(threshold).add(reward.mul(0));  // NaN stays
}

/// [B]: rewards in which given answers count as `how` says; NaN is in no statistic.
Tensor with_given(const Tensor& reward, const Tensor& given, const ops::Groups& groups, const std::string& how) {
  Tensor own = reward.masked_fill(given, std::nan(""));
  if (how == "apart") return own;
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  Tensor best = at::full({groups.count()}, kNone, reward.options());
  best = best.scatter_reduce(0, groups.index(), own.nan_to_num(kNone), "amax").index_select(0, groups.index());
  return at::where(given.logical_and(best.ge(reward)), groups.mean(own), reward);
}

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
  v.option("given", given,
           "how answers that the policy did not make count: as rows of the group; the same, but with the own answers' "
           "mean reward where one of these is as good (ViSurf); or apart, without an advantage",
           one_of({"in_group", "smoothed", "apart"}));
  v.option("shape_threshold", shape_threshold,
           "rewards from this on count as about this, lower ones fall off exponentially (TempSamp-R1); unset: as they "
           "are");
  v.option("shape_gain", shape_gain, "how much of what lies above shape_threshold still counts", at_least(0));
  v.option("shape_steepness", shape_steepness, "how steeply rewards below shape_threshold fall off", between(1e-3, 20));
  RewardOptions::visit(v);
}

GroupNormalized::GroupNormalized(Options options) : options_(std::move(options)) {
  options_.check();
  bool changed = options_.kl_weight != 0 || !options_.reward_clip.empty() || options_.shape_threshold ||
                 options_.given != "in_group";
  if (options_.aggregation == "normalize_then_sum" && changed)
    bad_input("credit",
              "kl_weight, reward_clip, shape_threshold and given need aggregation sum_then_normalize; got "
              "normalize_then_sum");
}

Needs GroupNormalized::needs() const { return options_.needs(); }

Tensor GroupNormalized::rewards(const Experience& batch, const ops::Groups& groups, Metrics& metrics) const {
  Tensor reward = penalised(ops::row_rewards(batch), batch, options_, metrics);
  if (options_.shape_threshold)
    reward = shaped(reward, *options_.shape_threshold, options_.shape_gain, options_.shape_steepness);
  Tensor given = batch.extra.find(extra::given);
  if (!given.defined() || options_.given == "in_group") return reward;
  return with_given(reward, given, groups, options_.given);
}

void GroupNormalized::assign(Experience& batch, Metrics& metrics) {
  ops::Groups groups(batch.group);
  Scored scored = options_.aggregation == "normalize_then_sum"
                      ? normalize_then_sum(batch, groups, options_.eps)
                      : sum_then_normalize(rewards(batch, groups, metrics), groups, options_);
  if (options_.rescale) {
    double teach = groups.deviation(ops::row_rewards(batch)).gt(1e-8).sum().item<double>();
    scored.advantage = scored.advantage.mul(static_cast<double>(batch.rows()) / std::max(teach, 1.0));
  }
  finish(batch, metrics, groups, scored.advantage, scored.deviation);
}

}  // namespace rft
