#include "credit/rewards.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

void RewardOptions::visit(OptionVisitor& v) {
  v.option("kl_weight", kl_weight, "subtract this times the row's KL divergence to the reference from its reward",
           at_least(0));
  v.option("kl_estimator", kl_estimator, "with x = logp - ref_logp: k1 = x, k2 = x^2 / 2, k3 = e^-x + x - 1",
           one_of({"k1", "k2", "k3"}));
  v.option("reward_clip", reward_clip, "[low, high]: rewards are clipped to these before the KL; empty: not at all");
}

Needs RewardOptions::needs() const {
  Needs needs;
  needs.reward = true;
  needs.ref_logp = kl_weight != 0;
  return needs;
}

void RewardOptions::check() const {
  if (reward_clip.empty()) return;
  if (reward_clip.size() != 2 || !(reward_clip[0] < reward_clip[1]))
    bad_input("credit", "reward_clip must be [low, high] with low below high; got ", reward_clip.size(), " numbers");
}

namespace credit {

Tensor zero_unless(const Tensor& condition, const Tensor& x) {
  return at::where(condition, x, at::zeros({}, x.options()));
}

Tensor step_rewards(const Experience& batch, const std::vector<double>& clip) {
  Tensor mask = batch.mask, reward = batch.reward.to(at::kDouble);
  if (!clip.empty()) reward = reward.clamp(clip[0], clip[1]);
  if (reward.dim() == 2) return zero_unless(mask, reward);
  Tensor later = mask.to(at::kLong).flip({1}).cumsum(1).flip({1});  // decisions from here on
  return zero_unless(mask.logical_and(later.eq(1)), reward.unsqueeze(1).expand(mask.sizes()));
}

Tensor whitened(const Tensor& x, const Tensor& kept, bool keep_mean) {
  Tensor values = x.masked_select(kept);
  if (values.numel() == 0) return x;
  Tensor mean = values.mean();
  Tensor variance = values.numel() > 1 ? values.var(/*unbiased=*/true) : at::zeros({}, x.options());
  Tensor out = x.sub(mean).mul(variance.add(1e-8).rsqrt());
  return keep_mean ? out.add(mean) : out;
}

Tensor group_log_mean_exp(const ops::Groups& groups, const Tensor& x, const Tensor& log_weight) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  auto log_sum_exp = [&](const Tensor& values) {
    Tensor kept = at::where(values.isnan(), at::full({}, kNone, values.options()), values);
    Tensor most = at::full({groups.count()}, kNone, values.options());
    most = most.scatter_reduce(0, groups.index(), kept, "amax").index_select(0, groups.index());
    return groups.sum(kept.sub(most).exp()).log().add(most);
  };
  Tensor weight = log_weight.defined() ? log_weight : at::zeros_like(x);
  return log_sum_exp(x.add(weight)).sub(log_sum_exp(weight.masked_fill(x.isnan(), std::nan(""))));
}

Tensor reference_log_weight(const Experience& batch) {
  const Tensor& logp = batch.logp;
  if (!logp.defined() || !batch.ref_logp.defined())
    run_failed("credit", "`logp` and `ref_logp` are needed, and the batch lacks one");
  return zero_unless(batch.mask, batch.ref_logp.sub(logp).to(at::kDouble)).sum(1);
}

Tensor token_kl(const Experience& batch, const RewardOptions& options, Metrics& metrics) {
  const Tensor& logp = batch.old_logp.defined() ? batch.old_logp : batch.logp;
  if (!logp.defined() || !batch.ref_logp.defined())
    run_failed("credit", "kl_weight needs `logp` and `ref_logp`, and the batch lacks one");
  Tensor x = at::where(batch.mask, logp.sub(batch.ref_logp), at::zeros({}, logp.options())).to(at::kDouble);
  x = x.clamp_max(1e4);  // a reference that can't make the choice at all gives no infinite penalty
  if (options.kl_estimator == "k2") x = x.square().div(2);
  if (options.kl_estimator == "k3") x = x.neg().exp().add(x).sub(1);
  double tokens = batch.mask.sum().item<double>();
  metrics.add("kl", x.sum().item<double>() / tokens, tokens);
  return x;
}

Tensor penalised(const Tensor& rewards, const Experience& batch, const RewardOptions& options, Metrics& metrics) {
  Tensor out = rewards;
  if (!options.reward_clip.empty()) out = out.clamp(options.reward_clip[0], options.reward_clip[1]);
  if (options.kl_weight == 0) return out;
  return out.sub(token_kl(batch, options, metrics).sum(1), options.kl_weight);
}

void finish(Experience& batch, Metrics& metrics, const ops::Groups& groups, const Tensor& advantage,
            const Tensor& deviation) {
  Tensor reward = ops::row_rewards(batch);
  double rows = static_cast<double>(reward.numel()), valid = rows - reward.isnan().sum().item<double>();
  if (valid > 0) {
    metrics.add("reward", ops::nan_mean(reward).item<double>(), valid);
    metrics.add("reward_std", ops::nan_deviation(reward).item<double>(), valid);
  }
  metrics.add("frac_reward_zero_std", deviation.le(1e-8).to(at::kDouble).mean().item<double>(), rows);
  auto type = batch.reward.is_floating_point() ? batch.reward.scalar_type() : at::kFloat;
  batch.extra.set(extra::reward_std, groups.deviation(reward).to(type));
  Tensor wide = advantage.dim() == 1 ? advantage.unsqueeze(1) : advantage;
  batch.advantage = wide.nan_to_num(0.0).to(type).mul(batch.mask);
}

}  // namespace credit
}  // namespace rft
