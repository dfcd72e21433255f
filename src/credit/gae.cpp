#include "rft/credit/gae.h"

#include <ATen/ATen.h>

#include <cmath>
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

/// What follows decisions, where rows hold several episodes or are cut off: undefined, or [B, T].
struct Following {
  Tensor value;     ///< float64
  Tensor last;      ///< bool
  Tensor duration;  ///< float64, steps that each decision lasted
};

/// [B, T] float64: the advantages, from the last decision to the first; at masked columns what was carried over them.
/// A plain loop over rows: rows are short and many, or long and few, and tensor calls would cost more than the sums.
Tensor estimate(const Tensor& reward, const Tensor& value, const Tensor& mask, const Following& following, double gamma,
                double lambda) {
  int64_t rows = mask.size(0), steps = mask.size(1);
  Tensor out = at::zeros_like(reward);
  auto r = reward.accessor<double, 2>(), v = value.accessor<double, 2>(), advantage = out.accessor<double, 2>();
  auto decided = mask.accessor<bool, 2>();
  Tensor after = following.value.defined() ? following.value : value;
  Tensor ends = following.last.defined() ? following.last : mask;
  Tensor lasted = following.duration.defined() ? following.duration : value;
  auto given = after.accessor<double, 2>();
  auto last = ends.accessor<bool, 2>();
  auto duration = lasted.accessor<double, 2>();
  for (int64_t i = 0; i < rows; ++i) {
    double next_value = 0, next_advantage = 0;
    for (int64_t t = steps - 1; t >= 0; --t) {
      if (following.last.defined() && last[i][t]) next_advantage = 0;
      if (decided[i][t]) {
        double expected = following.value.defined() ? given[i][t] : next_value;
        double discount = following.duration.defined() ? std::pow(gamma, duration[i][t]) : gamma;
        next_advantage = r[i][t] + discount * expected - v[i][t] + discount * lambda * next_advantage;
        next_value = v[i][t];
      }
      advantage[i][t] = next_advantage;
    }
  }
  return out;
}

}  // namespace

void Gae::Options::visit(OptionVisitor& v) {
  v.option("gamma", gamma,
           "discount of a reward one decision later (one step later where decisions are chunks of actions)",
           between(0, 1));
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

  Following following{batch.extra.find(extra::next_value), batch.extra.find(extra::last),
                      batch.extra.find(extra::duration)};
  for (Tensor* x : {&following.value, &following.duration})
    if (x->defined()) *x = x->to(at::kDouble);
  Tensor advantage = zero_unless(kept, estimate(reward, value, batch.mask, following, options_.gamma, options_.lambda));
  batch.extra.set(extra::returns, advantage.add(value).to(old.scalar_type()));
  if (options_.whiten_advantages) advantage = zero_unless(kept, whitened(advantage, kept, /*keep_mean=*/false));
  ops::Groups groups(batch.group);
  finish(batch, metrics, groups, advantage, groups.deviation(total));
}

}  // namespace rft
