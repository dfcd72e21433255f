#include "rft/objective/process_reward.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"
#include "rft/core/extra.h"

namespace rft {

using namespace objective;

Needs ProcessReward::needs() const {
  Needs needs;
  needs.data = Needs::Data::steps;
  needs.score = true;
  return needs;
}

Loss ProcessReward::loss(const Evaluation& now, const Experience& batch) const {
  Tensor x = zero_where_masked(required(now.score, "score", "process_reward"), batch.mask);
  Tensor label = required(batch.extra.find(extra::step_label), extra::step_label, "process_reward").to(x.scalar_type());
  label = zero_where_masked(label, batch.mask);
  Tensor weight = batch.mask.to(x.scalar_type());
  Tensor each = at::log_sigmoid(x).mul(label).add(at::log_sigmoid(x.neg()).mul(label.neg().add(1))).neg();
  Loss out(each.mul(weight).sum().div(std::max(batch.totals.tokens, 1.0)));
  MetricSums metrics;
  metrics.tokens("accuracy", x.detach().ge(0).eq(label.ge(0.5)).to(x.scalar_type()), weight);
  metrics.tokens("mean_reward", x.detach().sigmoid(), weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
