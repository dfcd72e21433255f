#include "rft/objective/ppo.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "objective/critic_loss.h"
#include "objective/regularizers.h"
#include "objective/surrogate.h"
#include "rft/core/error.h"

namespace rft {
namespace {

using namespace objective;

/// The part of PPO that is GRPO's.
Grpo::Options surrogate_of(const Ppo::Options& o) {
  Grpo::Options out;
  out.variant = "dapo";  // the mean over all tokens
  out.ratio_level = o.ratio_level;
  out.clip_low = o.clip_low, out.clip_high = o.clip_high, out.clip_delta = o.clip_delta;
  return out;
}

/// [B, T]: the distance from 1 that each decision's ratio is clipped at, from clip_base at a row's first to `clip` at
/// its last; a row's only decision is its last.
Tensor clip_distance(double clip, const Ppo::Options& o, const Columns& c) {
  Tensor number = c.weight.cumsum(1).sub(1), last = c.weight.sum(1, /*keepdim=*/true).sub(1);
  Tensor place = at::where(last.gt(0), number.div(last.clamp_min(1)), at::ones({}, c.weight.options()));
  Tensor share = place.mul(o.clip_rate).expm1().div(std::expm1(o.clip_rate));
  return share.mul(clip - *o.clip_base).add(*o.clip_base);
}

/// [B, T]: the policy's loss of each token.
Tensor policy_loss(const Ppo::Options& o, const Columns& c, MetricSums& metrics) {
  Grpo::Options surrogate = surrogate_of(o);
  Ratios r = ratios(c, surrogate);
  add_approx_kl(metrics, c, r);
  if (!o.clip_base) return token_loss(c, r, surrogate, metrics);
  Tensor low = clip_distance(o.clip_low, o, c), high = clip_distance(o.clip_high.value_or(o.clip_low), o, c);
  return clipped_between(c, r.ratio, low.neg().add(1), high.add(1), o.clip_delta, metrics);
}

}  // namespace

void Ppo::Options::visit(OptionVisitor& v) {
  v.option("ratio_level", ratio_level, "importance ratio of each token, or of the whole row",
           one_of({"token", "sequence"}));
  v.option("clip_low", clip_low, "the ratio is clipped at 1 - clip_low", at_least(0));
  v.option("clip_high", clip_high, "the ratio is clipped at 1 + clip_high; unset: clip_low", at_least(0));
  v.option("clip_delta", clip_delta, "upper bound of the ratio where the advantage is negative (dual clip), try 3",
           above(1));
  v.option(
      "clip_base", clip_base,
      "the ratio is clipped this close to 1 at a row's first decision, and less and less closely up to its last (over "
      "DPPO's denoising steps); null: the same everywhere",
      at_least(0));
  v.option("clip_rate", clip_rate, "how exponentially: near 0 linearly, higher: only the last decisions are let loose",
           above(0));
  CriticOptions::visit(v);
  RegularizerOptions::visit(v);
}

Ppo::Ppo(Options options) : options_(std::move(options)) {
  double high = 1 + options_.clip_high.value_or(options_.clip_low);
  if (options_.clip_delta && *options_.clip_delta <= high)
    bad_input("objective", "clip_delta must be above 1 + clip_high, ", high, "; got ", *options_.clip_delta);
  options_.check();
  if (options_.clip_base && options_.ratio_level != "token")
    bad_input("objective", "clip_base clips each column's ratio: ratio_level must be token");
}

Needs Ppo::needs() const {
  Needs needs = options_.needs();
  needs.reward = needs.advantage = true;
  needs.value = options_.value_weight != 0;
  if (needs.value) needs.credit = "gae";
  return needs;
}

void Ppo::stepped(const Metrics& metrics) {
  ++steps_;
  adapt_kl_weight(options_, metrics);
}

State Ppo::state() const {
  State out = regularizer_state(options_);
  out.merge(steps_state(steps_));
  return out;
}

void Ppo::load_state(const State& state) {
  load_regularizer_state(options_, state);
  load_steps(steps_, state);
}

Loss Ppo::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  required(c.advantage, "advantage", "ppo");
  double tokens = batch.totals.tokens;
  const bool warming = steps_ < options_.critic_warmup;
  MetricSums metrics;
  Tensor policy = policy_loss(options_, c, metrics);
  metrics.tokens("policy_loss", policy, c.weight);
  Loss out;
  if (!warming)
    out.terms.push_back({"policy_loss", reduce(policy, c, surrogate_of(options_), batch.totals.rows, tokens)});
  add_value_loss(out, metrics, now, batch, c, options_, warming, tokens, "ppo");
  if (!warming) add_regularizers(out, metrics, c, options_, tokens, "ppo");
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
