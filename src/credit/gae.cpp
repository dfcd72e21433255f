#include "rft/credit/gae.h"

#include <ATen/ATen.h>

#include <vector>

#include "credit/rewards.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace credit;

Tensor zero_unless(const Tensor& condition, const Tensor& x) {
  return at::where(condition, x, at::zeros({}, x.options()));
}

/// [B, T] float64: the reward at each decision, clipped to `clip` where it is one; NaN stays.
Tensor step_rewards(const Experience& batch, const std::vector<double>& clip) {
  Tensor mask = batch.mask, reward = batch.reward.to(at::kDouble);
  if (!clip.empty()) reward = reward.clamp(clip[0], clip[1]);
  if (reward.dim() == 2) return zero_unless(mask, reward);
  Tensor later = mask.to(at::kLong).flip({1}).cumsum(1).flip({1});  // decisions from here on
  return zero_unless(mask.logical_and(later.eq(1)), reward.unsqueeze(1).expand(mask.sizes()));
}

/// x - mean over sqrt(var + 1e-8) of the decisions where `kept` [B, T] is true, plus the mean where `keep_mean`.
Tensor whitened(const Tensor& x, const Tensor& kept, bool keep_mean) {
  Tensor values = x.masked_select(kept);
  if (values.numel() == 0) return x;
  Tensor mean = values.mean();
  Tensor variance = values.numel() > 1 ? values.var(/*unbiased=*/true) : at::zeros({}, x.options());
  Tensor out = x.sub(mean).mul(variance.add(1e-8).rsqrt());
  return keep_mean ? out.add(mean) : out;
}

/// [B, T]: the advantages, from the last decision to the first; at masked columns what was carried over them.
Tensor estimate(const Tensor& reward, const Tensor& value, const Tensor& mask, double gamma, double lambda) {
  int64_t steps = mask.size(1);
  Tensor advantage = at::zeros_like(reward);
  Tensor next_value = at::zeros({mask.size(0)}, reward.options()), next_advantage = next_value;
  for (int64_t t = steps - 1; t >= 0; --t) {
    Tensor decided = mask.select(1, t), v = value.select(1, t);
    Tensor change = reward.select(1, t).add(next_value, gamma).sub(v);
    next_advantage = at::where(decided, change.add(next_advantage, gamma * lambda), next_advantage);
    next_value = at::where(decided, v, next_value);
    advantage.select(1, t).copy_(next_advantage);
  }
  return advantage;
}

}  // namespace

void Gae::Options::visit(OptionVisitor& v) {
  v.option("gamma", gamma, "discount of a reward one decision later", between(0, 1));
  v.option("lambda", lambda, "1: what was received, high variance; 0: what the critic expects, biased", between(0, 1));
  RewardOptions::visit(v);
  v.option("whiten_rewards", whiten_rewards, "divide the decisions' rewards by their deviation over the batch");
  v.option("whiten_advantages", whiten_advantages, "advantages of mean 0 and deviation 1 over the batch");
}

Gae::Gae(Options options) : options_(std::move(options)) { options_.check(); }

Needs Gae::needs() const {
  Needs needs = options_.needs();
  needs.value = true;
  return needs;
}

void Gae::assign(Experience& batch, Metrics& metrics) {
  Tensor total = ops::row_rewards(batch);
  Tensor old = batch.extra.find(extra::old_value);
  if (!old.defined()) run_failed("gae", "`", extra::old_value, "` is needed, and the batch has none");
  Tensor known = total.isnan().logical_not().unsqueeze(1), kept = known.logical_and(batch.mask);
  Tensor value = zero_unless(batch.mask, old.to(at::kDouble));
  Tensor reward = step_rewards(batch, options_.reward_clip);
  if (options_.kl_weight != 0) reward = reward.sub(token_kl(batch, options_, metrics), options_.kl_weight);
  reward = zero_unless(kept, reward);
  if (options_.whiten_rewards) reward = zero_unless(kept, whitened(reward, kept, /*keep_mean=*/true));

  Tensor advantage = zero_unless(kept, estimate(reward, value, batch.mask, options_.gamma, options_.lambda));
  batch.extra.set(extra::returns, advantage.add(value).to(old.scalar_type()));
  if (options_.whiten_advantages) advantage = zero_unless(kept, whitened(advantage, kept, /*keep_mean=*/false));
  ops::Groups groups(batch.group);
  finish(batch, metrics, groups, advantage, groups.deviation(total));
}

}  // namespace rft
