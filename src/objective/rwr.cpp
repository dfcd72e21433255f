#include "rft/objective/rwr.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "objective/critic_loss.h"
#include "objective/estimates.h"
#include "rft/core/error.h"
#include "rft/ops/groups.h"

namespace rft {

using namespace objective;

void Rwr::Options::visit(OptionVisitor& v) {
  v.option("weigh", weigh, "what a sample is weighted by", one_of({"advantage", "reward"}));
  v.option("temperature", temperature, "weights are exp(x / temperature): small picks the best alone", above(0));
  v.option("max_weight", max_weight, "no weight is larger", above(0));
  v.option("kl_weight", kl_weight,
           "weight of the squared distance of a denoiser's answers to the reference's; needs judge forward",
           at_least(0));
  critic.visit(v);
}

Rwr::Rwr(Options options) : options_(std::move(options)) {
  options_.critic.check();
  if (options_.critic.value_weight != 0 && options_.weigh != "advantage")
    bad_input("objective", "a critic (value_weight) gives advantages, and `weigh` is ", options_.weigh);
}

State Rwr::state() const { return steps_state(steps_); }
void Rwr::load_state(const State& state) { load_steps(steps_, state); }

Needs Rwr::needs() const {
  Needs needs;
  needs.reward = true;
  needs.advantage = options_.weigh == "advantage";
  needs.value = options_.critic.value_weight != 0;
  if (needs.value) needs.credit = "gae";
  needs.estimate = needs.ref_estimate = options_.kl_weight != 0;
  return needs;
}

Loss Rwr::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  Tensor rewards = batch.reward.defined() ? ops::row_rewards(batch).unsqueeze(1) : Tensor();
  Tensor x = required(options_.weigh == "advantage" ? c.advantage : rewards, options_.weigh.c_str(), "rwr");
  Tensor kept = rewards.defined() ? c.mask.logical_and(rewards.isnan().logical_not()) : c.mask;
  x = x.expand(c.mask.sizes()).to(c.logp.scalar_type()).div(options_.temperature);
  Tensor weight = zero_where_masked(x.clamp_max(std::log(options_.max_weight)).exp(), kept);
  Tensor each = weight.mul(c.logp).neg();
  const double tokens = std::max(batch.totals.tokens, 1.0);
  const bool warming = steps_ < options_.critic.critic_warmup;
  Loss out;
  MetricSums metrics;
  if (!warming) out.terms.push_back({"policy_loss", each.sum().div(tokens)});
  add_value_loss(out, metrics, now, batch, c, options_.critic, warming, tokens, "rwr");
  metrics.tokens("policy_loss", each, c.weight), metrics.tokens("weight", weight, c.weight);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  if (!warming) add_answer_divergence(out, metrics, now, c, options_.kl_weight, tokens, "rwr");
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
