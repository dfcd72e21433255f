#include "objective/critic_loss.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/ops/policy_loss.h"

namespace rft {

void CriticOptions::visit(OptionVisitor& v) {
  v.option("value_weight", value_weight, "weight of the critic's loss; 0: no critic", at_least(0));
  v.option(
      "critic_warmup", critic_warmup,
      "so many optimizer steps at the start train the critic alone: one that starts anew beside a policy that does "
      "not would mislead it",
      at_least(0).in("steps"));
  v.option("value_clip", value_clip, "the critic's estimate is kept this close to the one of the rollout; null: not",
           above(0));
}

void CriticOptions::check() const {
  if (critic_warmup > 0 && value_weight == 0)
    bad_input("objective", "critic_warmup trains a critic: value_weight must be above 0");
}

namespace objective {

void add_value_loss(Loss& loss, MetricSums& metrics, const Evaluation& now, const Experience& batch, const Columns& c,
                    const CriticOptions& options, bool warming, double tokens, const char* name) {
  if (options.value_weight == 0) return;
  auto column = [&](const Tensor& x, const char* what) {
    return zero_where_masked(required(x, what, name).to(c.logp.options()), c.mask);
  };
  const auto& clip = options.value_clip;
  Tensor value = column(now.value, "value");
  Tensor returns = column(batch.extra.find(extra::returns), extra::returns);
  Tensor old = clip ? column(batch.extra.find(extra::old_value), extra::old_value) : value.detach();
  Tensor each = ops::clipped_value_loss(value, returns, old, clip);
  if (clip) {
    Tensor beyond = value.detach().sub(old).abs().gt(*clip),
           kept = old.add(value.detach().sub(old).clamp(-*clip, *clip));
    Tensor worse = kept.sub(returns).square().gt(value.detach().sub(returns).square());
    metrics.tokens("value_clip_ratio", worse.logical_and(beyond).to(c.weight.scalar_type()), c.weight);
  }
  metrics.tokens("value_loss", each, c.weight);
  loss.terms.push_back({"value_loss", each.mul(c.weight).sum().mul(options.value_weight / std::max(tokens, 1.0))});
  if (warming) loss.terms.back().trains = {groups::critic};
}

State steps_state(int64_t steps) { return {{"steps", at::tensor({steps}, at::kLong)}}; }

void load_steps(int64_t& steps, const State& state) {
  if (auto found = state.find("steps"); found != state.end()) steps = found->second.item<int64_t>();
}

}  // namespace objective
}  // namespace rft
