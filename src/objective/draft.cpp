#include "rft/objective/draft.h"

#include <ATen/ATen.h>

#include "objective/rewarded_rows.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

using namespace objective;

void Draft::Options::visit(OptionVisitor& v) {
  v.option("path", path, "through the last steps of the sampler (DRaFT), or a clean sample predicted on the way (ReFL)",
           one_of({"chain", "denoised"}));
  v.option("last_steps", last_steps, "chain: the gradient flows through this many last steps; 0: all",
           at_least(0).in("steps"));
  v.option("min_steps", min_steps, "chain: draw the number of steps each batch, at least this; unset: last_steps",
           at_least(1).in("steps"));
  v.option("max_steps", max_steps, "chain: draw the number of steps each batch, at most this; unset: last_steps",
           at_least(1).in("steps"));
  v.option("noise_repeats", noise_repeats, "chain: renoise and denoise the sample this often, and average (DRaFT-LV)",
           at_least(0));
  v.option("min_level", min_level, "denoised: the earliest step, 0 = the run's start", between(0, 1));
  v.option("max_level", max_level, "denoised: the latest step, 1 = the run's end", between(0, 1));
  v.option("reward_target", reward_target, "minimise the distance to this reward; unset: maximise the reward");
  v.option("hinge", hinge, "rewards beyond this teach nothing more; unset: none is too high");
  v.option("kl_weight", kl_weight, "chain: weight of the run's KL divergence to the reference policy's (DRAKES)",
           at_least(0));
}

Draft::Draft(Options options) : options_(std::move(options)) {
  const auto& o = options_;
  if (o.reward_target && o.hinge)
    bad_input("objective", "reward_target and hinge exclude each other; got ", *o.reward_target, " and ", *o.hinge);
  if (o.min_level > o.max_level)
    bad_input("objective", "min_level must not be above max_level; got ", o.min_level, " and ", o.max_level);
  bool chain = o.path == "chain";
  if (!chain && (o.min_steps || o.max_steps || o.noise_repeats || o.kl_weight != 0))
    bad_input("objective", "min_steps, max_steps, noise_repeats and kl_weight belong to path chain; got path ", o.path);
  if (o.min_steps.has_value() != o.max_steps.has_value())
    bad_input("objective", "min_steps and max_steps go together; got only ", o.min_steps ? "min_steps" : "max_steps");
  if (o.min_steps && *o.min_steps > *o.max_steps)
    bad_input("objective", "min_steps must not be above max_steps; got ", *o.min_steps, " and ", *o.max_steps);
}

Needs Draft::needs() const {
  const auto& o = options_;
  Pathwise path;
  path.path = o.path == "chain" ? Pathwise::Path::chain : Pathwise::Path::denoised;
  path.min_steps = o.min_steps.value_or(o.last_steps);
  path.max_steps = o.max_steps.value_or(o.last_steps);
  path.noise_repeats = o.noise_repeats;
  path.min_level = o.min_level, path.max_level = o.max_level;
  path.kl = o.kl_weight != 0;
  Needs needs;
  needs.data = Needs::Data::contexts;
  needs.pathwise = path;
  return needs;
}

Loss Draft::loss(const Evaluation& now, const Experience& batch) const {
  const Tensor& reward = required(now.reward, "reward", "draft");
  Tensor kept = reward.isnan().logical_not();
  Tensor r = zero_where_masked(reward, kept);
  Tensor each = r.neg();
  if (options_.reward_target) each = r.sub(*options_.reward_target).abs();
  if (options_.hinge) each = each.add(*options_.hinge).relu();
  Loss out;
  out.terms.push_back({"reward_loss", share_of_mean(each, kept, batch.totals.rows)});
  MetricSums metrics;
  metrics.tokens("reward_loss", each, kept.to(each.scalar_type()));
  if (options_.kl_weight != 0) {
    Tensor kl = zero_where_masked(required(now.extra.find(extra::path_kl), extra::path_kl, "draft"), kept);
    out.terms.push_back({"kl_penalty", share_of_mean(kl, kept, batch.totals.rows).mul(options_.kl_weight)});
    metrics.tokens("kl", kl, kept.to(kl.scalar_type()));
  }
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
