#include "rft/credit/posterior.h"

#include <ATen/ATen.h>

#include <cmath>

#include "credit/rewards.h"

namespace rft {
namespace {

using namespace credit;

/// -f'(t) of each divergence D_f(pi || p) = E_p f(pi / p), x = log t.
Tensor pseudo_reward(const Tensor& x, const Posterior::Options& o) {
  double most = std::log(o.max_ratio);
  if (o.divergence == "forward_kl") return x.neg().clamp_max(most).exp();
  if (o.divergence == "jensen_shannon") return x.neg().clamp_max(most).exp().add(1).div(2).log();
  if (o.divergence == "total_variation") return x.sign().div(-2);
  return x.add(1).neg();
}

}  // namespace

void Posterior::Options::visit(OptionVisitor& v) {
  v.option("beta", beta, "the posterior is p_ref exp(r / beta) / Z: in units of the reward", above(0));
  v.option("divergence", divergence, "what is minimised between policy and posterior",
           one_of({"reverse_kl", "forward_kl", "jensen_shannon", "total_variation"}));
  v.option("baseline", baseline, "take off the group's mean, which lowers the variance");
  v.option("max_ratio", max_ratio, "bound of posterior / policy: a rarely sampled good row doesn't drown the others",
           above(1));
}

Needs Posterior::needs() const {
  Needs needs;
  needs.reward = needs.ref_logp = true;
  return needs;
}

void Posterior::assign(Experience& batch, Metrics& metrics) {
  ops::Groups groups(batch.group);
  Tensor reward = ops::row_rewards(batch);
  Tensor log_ratio = reward.div(options_.beta).add(reference_log_weight(batch));  // log of p Z / pi
  Tensor log_z = group_log_mean_exp(groups, log_ratio, {});
  Tensor advantage = pseudo_reward(log_z.sub(log_ratio), options_);
  if (options_.baseline) advantage = advantage.sub(groups.mean(advantage));
  metrics.add("log_z", ops::nan_mean(log_z).item<double>(), static_cast<double>(batch.rows()));
  finish(batch, metrics, groups, advantage, groups.deviation(reward));
}

}  // namespace rft
