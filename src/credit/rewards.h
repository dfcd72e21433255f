#pragma once
/// What the credits share: penalties on the reward, the metrics, the way back to [B, T].
#include "rft/core/experience.h"
#include "rft/core/metrics.h"
#include "rft/credit/reward_options.h"
#include "rft/ops/groups.h"

namespace rft::credit {

/// `rewards` [B] clipped to reward_clip, then less kl_weight times the row's summed KL to the reference (token_kl).
Tensor penalised(const Tensor& rewards, const Experience& batch, const RewardOptions& options, Metrics& metrics);

/// [B, T] float64: the KL to the reference at each decision by kl_estimator, 0 where masked; adds metric `kl` (mean
/// over tokens). Estimated on the tokens of the policy at the start of the updates, else of the policy that acted.
Tensor token_kl(const Experience& batch, const RewardOptions& options, Metrics& metrics);

/// x where `condition` is true, 0 elsewhere.
Tensor zero_unless(const Tensor& condition, const Tensor& x);

/// [B, T] float64: the reward at each decision (one of a row at its last), clipped to `clip` [low, high] where that is
/// not empty; NaN stays.
Tensor step_rewards(const Experience& batch, const std::vector<double>& clip);

/// x - mean over sqrt(var + 1e-8) of the decisions where `kept` [B, T] is true (var with n - 1), plus the mean where
/// `keep_mean`.
Tensor whitened(const Tensor& x, const Tensor& kept, bool keep_mean);

/// [B]: each row's log(sum over its group of weight e^x / sum of weight), weight = e^log_weight (undefined: 1); rows
/// whose x is NaN are left out; NaN where none is left.
Tensor group_log_mean_exp(const ops::Groups& groups, const Tensor& x, const Tensor& log_weight);

/// [B] float64: the summed log-ratio of the reference to the policy that sampled, 0 where masked. Throws RunError where
/// the batch lacks one.
Tensor reference_log_weight(const Experience& batch);

/// Sets batch.advantage [B, T] from `advantage` [B] or [B, T] (NaN becomes 0; 0 where masked) and extra::reward_std,
/// and adds `reward`, `reward_std` and, from each row's `deviation` [B], `frac_reward_zero_std` (a group with fewer
/// than two rewards counts as one without deviation; TRL leaves it out).
void finish(Experience& batch, Metrics& metrics, const ops::Groups& groups, const Tensor& advantage,
            const Tensor& deviation);

}  // namespace rft::credit
