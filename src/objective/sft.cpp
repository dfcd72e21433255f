#include "rft/objective/sft.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"

namespace rft {
namespace {

using namespace objective;

Loss mean_nll(const Evaluation& now, const Experience& batch) {
  Columns c = read_columns(now, batch, batch.mask);
  Loss out(c.logp.sum().neg().div(std::max(batch.totals.tokens, 1.0)));
  MetricSums metrics;
  metrics.tokens("mean_token_nll", c.logp.neg(), c.weight);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace

Needs Sft::needs() const {
  Needs needs;
  needs.data = Needs::Data::demonstrations;
  return needs;
}
Loss Sft::loss(const Evaluation& now, const Experience& batch) const { return mean_nll(now, batch); }

Needs Raft::needs() const {
  Needs needs;
  needs.reward = true;
  needs.best_rows = true;
  return needs;
}
Loss Raft::loss(const Evaluation& now, const Experience& batch) const { return mean_nll(now, batch); }

}  // namespace rft
