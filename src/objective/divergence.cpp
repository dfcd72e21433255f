#include "objective/divergence.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/extra.h"

namespace rft::objective {

Divergence::Kind divergence_kind(const std::string& name) {
  using Kind = Divergence::Kind;
  if (name == "forward_kl") return Kind::forward_kl;
  if (name == "jensen_shannon") return Kind::jensen_shannon;
  return name == "alpha" ? Kind::alpha : Kind::reverse_kl;
}

Tensor divergence_column(const Evaluation& now, const Columns& c, const char* objective) {
  Tensor found = required(now.extra.find(extra::divergence), extra::divergence, objective);
  return zero_where_masked(found.to(c.logp.options()), c.mask);
}

void add_divergence(Loss& loss, MetricSums& metrics, const Evaluation& now, const Columns& c, double weight,
                    double tokens, const char* objective) {
  if (weight == 0) return;
  Tensor each = divergence_column(now, c, objective);
  loss.terms.push_back({"divergence", each.sum().mul(weight / std::max(tokens, 1.0))});
  metrics.tokens("kl", each, c.weight);
}

}  // namespace rft::objective
