#include "rft/policy/actor.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

/// [B, T, ...] -> [N, 1, ...], the decisions that `kept` [N] names.
Tensor one_a_row(const Tensor& x, const Tensor& kept) { return x.flatten(0, 1).index_select(0, kept).unsqueeze(1); }

}  // namespace

Experience Actor::decisions(const Experience& batch) const {
  Tensor kept = batch.mask.flatten().nonzero().squeeze(1);
  Experience out;
  out.context.set(extra::observation, one_a_row(batch.context.tensor(extra::observation), kept));
  for (const auto& [name, column] : experience_columns()) {
    const Tensor& x = batch.*column;
    if (x.defined() && x.dim() > 1) out.*column = one_a_row(x, kept);
  }
  out.group = batch.group.unsqueeze(1).expand(batch.mask.sizes()).flatten().index_select(0, kept);
  for (const char* name : {extra::old_value, extra::returns})
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
