#include "objective/pair_columns.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/error.h"

namespace rft::objective {

PairOf halves(const Tensor& x, const char* objective) {
  if (x.size(0) % 2 != 0)
    run_failed(objective, "a batch of pairs has an even number of rows, the chosen ones first; got ", x.size(0));
  auto two = x.chunk(2, 0);
  return {two[0], two[1]};
}

PairOf pair_sums(const Tensor& column, const Tensor& weight, const char* objective) {
  return halves(column.mul(weight).sum(1), objective);
}

PairOf pair_means(const Tensor& column, const Tensor& weight, const char* objective) {
  return halves(row_mean(column, weight).squeeze(1), objective);
}

Tensor chosen_nll(const Columns& c, double tokens) {
  int64_t pairs = c.logp.size(0) / 2;
  return c.logp.narrow(0, 0, pairs).sum().neg().div(std::max(tokens, 1.0));
}

void add_pair_metrics(MetricSums& metrics, const PairOf& reward, const PairOf& logp, const Columns& c) {
  Tensor chosen = reward.chosen.detach(), rejected = reward.rejected.detach(), each = at::ones_like(chosen);
  metrics.tokens("rewards/chosen", chosen, each);
  metrics.tokens("rewards/rejected", rejected, each);
  metrics.tokens("rewards/margins", chosen.sub(rejected), each);
  metrics.tokens("rewards/accuracies", chosen.gt(rejected).to(each.scalar_type()), each);
  metrics.tokens("logps/chosen", logp.chosen, each);
  metrics.tokens("logps/rejected", logp.rejected, each);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
}

}  // namespace rft::objective
