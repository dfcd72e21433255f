#include "rft/objective/inverse_q.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/likelihood.h"

namespace rft {
namespace {

using namespace objective;

/// [B, T] int64: the column of the row's next decision, T where there is none.
Tensor next_decision(const Tensor& mask) {
  int64_t T = mask.size(1);
  Tensor column = at::arange(T, mask.options().dtype(at::kLong)).expand_as(mask).masked_fill(mask.logical_not(), T);
  Tensor first_from = std::get<0>(column.flip({1}).cummin(1)).flip({1});  // at or after each column
  return at::cat({first_from.narrow(1, 1, T - 1), at::full({mask.size(0), 1}, T, column.options())}, 1);
}

}  // namespace

void InverseQ::Options::visit(OptionVisitor& v) {
  v.option("td_weight", td_weight, "weight of the squared temporal difference; 0 is supervised fine-tuning",
           at_least(0));
  v.option("gamma", gamma, "discount of the next decision's value", between(0, 1));
}

Needs InverseQ::needs() const {
  Needs needs;
  needs.data = Needs::Data::demonstrations;
  needs.value = true;
  return needs;
}

Loss InverseQ::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  Tensor value = zero_where_masked(required(now.value, "value", "inverse_q").to(c.logp.scalar_type()), c.mask);
  Tensor ended = at::cat({value, at::zeros({value.size(0), 1}, value.options())}, 1);
  Tensor next = ended.gather(1, next_decision(c.mask));
  Tensor reward = value.add(c.logp).sub(next, options_.gamma).mul(c.weight);
  const double tokens = std::max(batch.totals.tokens, 1.0);
  MetricSums metrics;
  Loss out;
  out.terms.push_back({"nll", mean_nll(c, {}, tokens, metrics)});
  out.terms.push_back({"consistency", reward.square().sum().mul(options_.td_weight / tokens)});
  metrics.tokens("implied_reward", reward, c.weight);
  metrics.tokens("value", value, c.weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
