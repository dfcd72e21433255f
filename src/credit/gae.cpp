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

/// What follows decisions, where rows hold several episodes or are cut off: undefined, or [B, T].
struct Following {
  Tensor value;     ///< float64
  Tensor last;      ///< bool
  Tensor duration;  ///< float64, steps that each decision lasted
};

/// What an off-policy correction makes of each decision; [B, T] float64.
struct Weights {
  Tensor rho;    ///< of its own temporal difference
  Tensor trace;  ///< of what comes after it
};

/// ones and lambda, or V-trace's truncated ratios of the policy at the start of the updates to the one that acted.
Weights weights_of(const Experience& batch, const Gae::Options& o) {
  auto doubles = at::TensorOptions().dtype(at::kDouble);
  if (o.correction == "none")
    return {at::ones(batch.mask.sizes(), doubles), at::full(batch.mask.sizes(), o.lambda, doubles)};
  if (!batch.logp.defined()) run_failed("gae", "correction v_trace needs `logp`, and the batch has none");
  const Tensor& now = batch.old_logp.defined() ? batch.old_logp : batch.logp;
  Tensor ratio = zero_unless(batch.mask, now.sub(batch.logp).to(at::kDouble)).exp();
  return {ratio.clamp_max(o.rho_clip), ratio.clamp_max(o.trace_clip).mul(o.lambda)};
}

/// [B, T] float64 each; at masked columns what was carried over them.
struct Estimates {
  Tensor advantage;  ///< of the policy's gradient
  Tensor error;      ///< what the critic's estimate lacks
};

/// From the last decision to the first. A plain loop over rows: rows are short and many, or long and few, and tensor
/// calls would cost more than the sums.
Estimates estimate(const Tensor& reward, const Tensor& value, const Tensor& mask, const Following& following,
                   const Weights& weights, double gamma) {
  Estimates out{at::zeros_like(reward), at::zeros_like(reward)};
  auto r = reward.accessor<double, 2>(), v = value.accessor<double, 2>(),
       advantage = out.advantage.accessor<double, 2>(), error = out.error.accessor<double, 2>(),
       rho = weights.rho.accessor<double, 2>(), trace = weights.trace.accessor<double, 2>();
  auto decided = mask.accessor<bool, 2>();
  Tensor after = following.value.defined() ? following.value : value;
  Tensor ends = following.last.defined() ? following.last : mask;
  Tensor lasted = following.duration.defined() ? following.duration : value;
  auto given = after.accessor<double, 2>();
  auto last = ends.accessor<bool, 2>();
  auto duration = lasted.accessor<double, 2>();
  for (int64_t i = 0; i < mask.size(0); ++i) {
    double next_value = 0, next_error = 0, reached = 0;
    for (int64_t t = mask.size(1) - 1; t >= 0; --t) {
      if (following.last.defined() && last[i][t]) next_error = 0;
      if (decided[i][t]) {
        double expected = following.value.defined() ? given[i][t] : next_value;
        double discount = following.duration.defined() ? std::pow(gamma, duration[i][t]) : gamma;
        double surprise = r[i][t] + discount * expected - v[i][t];
        // GAE's advantage is the critic's error itself; V-trace's looks one decision ahead, to what the critic is
        // taught.
        double carried = discount * trace[i][t] * next_error;
        reached = rho[i][t] * (surprise + discount * next_error);
        next_error = rho[i][t] * surprise + carried;
        next_value = v[i][t];
      }
      error[i][t] = next_error, advantage[i][t] = reached;
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
  v.option("correction", correction, "for rows that another policy made: none, or V-trace's truncated ratios",
           one_of({"none", "v_trace"}));
  v.option("rho_clip", rho_clip, "v_trace: bound of a decision's own ratio", above(0));
  v.option("trace_clip", trace_clip, "v_trace: bound of the ratio by which what follows counts", above(0));
  v.option("whiten_rewards", whiten_rewards, "divide the decisions' rewards by their deviation over the batch");
  v.option("whiten_advantages", whiten_advantages, "advantages of mean 0 and deviation 1 over the batch");
  v.option("advantage_clip", advantage_clip,
           "advantages are then kept within +-this, so that no decision moves the policy far; null: not", above(0));
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
  Estimates found = estimate(reward, value, batch.mask, following, weights_of(batch, options_), options_.gamma);
  batch.extra.set(extra::returns, zero_unless(kept, found.error).add(value).to(old.scalar_type()));
  Tensor advantage = zero_unless(kept, options_.correction == "none" ? found.error : found.advantage);
  if (options_.whiten_advantages) advantage = zero_unless(kept, whitened(advantage, kept, /*keep_mean=*/false));
  if (options_.advantage_clip) advantage = advantage.clamp(-*options_.advantage_clip, *options_.advantage_clip);
  ops::Groups groups(batch.group);
  finish(batch, metrics, groups, advantage, groups.deviation(total));
}

}  // namespace rft
