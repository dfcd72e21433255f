#include "objective/transitions.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/extra.h"

namespace rft::objective {

Tensor Transitions::column(const Tensor& x) const { return zero_where_masked(x.to(weight.options()), mask); }

Tensor Transitions::columns(const Tensor& x) const {
  Tensor wide = mask;
  while (wide.dim() < x.dim()) wide = wide.unsqueeze(-1);
  return zero_where_masked(x.to(weight.options()), wide);
}

Tensor Transitions::mean(const Tensor& x) const { return x.mul(weight).sum().div(decisions); }

Tensor Transitions::target(const Tensor& after) const { return reward.add(discount.mul(after)); }

Transitions read_transitions(const Evaluation& now, const Experience& batch, double gamma, const char* objective) {
  Transitions t;
  t.mask = batch.mask;
  t.weight = batch.mask.to(promised(now, extra::q, objective).scalar_type());
  t.decisions = std::max(batch.totals.tokens, 1.0);
  const Tensor& reward = required(batch.reward, "reward", objective);
  t.reward = t.column(reward.dim() == 1 ? reward.unsqueeze(1).expand(batch.mask.sizes()) : reward);
  Tensor terminated = required(batch.extra.find(extra::terminated), extra::terminated, objective);
  Tensor duration = batch.extra.find(extra::duration);
  t.discount = duration.defined() ? at::pow(gamma, t.column(duration)) : at::full_like(t.weight, gamma);
  t.discount = t.discount.masked_fill(terminated, 0);
  return t;
}

Tensor promised(const Evaluation& now, const char* name, const char* objective) {
  return required(now.extra.find(name), name, objective);
}

void add_q_metrics(MetricSums& metrics, const Transitions& t, const Tensor& q, const Tensor& target) {
  metrics.tokens("q_mean", q.detach().mean(2), t.weight);
  metrics.tokens("q_target", target, t.weight);
}

}  // namespace rft::objective
