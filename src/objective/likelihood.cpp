#include "objective/likelihood.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace rft::objective {

Tensor mean_nll(const Columns& c, const Tensor& weight, double tokens, MetricSums& metrics) {
  metrics.tokens("mean_token_nll", c.logp.neg(), c.weight);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  Tensor each = weight.defined() ? c.logp.mul(weight) : c.logp;
  return each.sum().neg().div(std::max(tokens, 1.0));
}

}  // namespace rft::objective
