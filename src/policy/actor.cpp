#include "rft/policy/actor.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

/// [B, T, ...] -> [N, 1, ...], the decisions that `kept` [N] names.
Tensor one_a_row(const Tensor& x, const Tensor& kept) { return x.flatten(0, 1).index_select(0, kept).unsqueeze(1); }

}  // namespace

Decisions Actor::act_from(const Tensor&, const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy,
                          bool learn) {
  return act(observation, keys, greedy, learn);
}

Tensor Actor::value_from(const Tensor&, const Tensor& observation) { return value(observation, false); }

Experience Actor::decisions(const Experience& batch) const {
  if (memory() > 0)
    bad_input("rollout.learn_from", "a policy with memory learns from rows (episodes, or segments of `steps`)");
  Tensor kept = batch.mask.flatten().nonzero().squeeze(1);
  Experience out;
  out.context.set(extra::observation, one_a_row(batch.context.tensor(extra::observation), kept));
  for (const auto& [name, column] : experience_columns()) {
    const Tensor& x = batch.*column;
    if (x.defined() && x.dim() > 1) out.*column = one_a_row(x, kept);
  }
  out.group = batch.group.unsqueeze(1).expand(batch.mask.sizes()).flatten().index_select(0, kept);
  for (const char* name : {extra::old_value, extra::returns, extra::step_logp})
    if (Tensor x = batch.extra.find(name); x.defined()) out.extra.set(name, one_a_row(x, kept));
  return out;
}

Experience Actor::contexts(const Rows&) const {
  bad_input("data", "a policy for control acts in an environment: `prompts` do not apply to it");
}

Experience Actor::sample(const Experience&, const SampleRequest&) {
  run_failed("policy", "a policy for control acts in an environment and answers no prompts");
}

}  // namespace rft
