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

void add_divergence(Loss& loss, MetricSums& metrics, const Columns& c, double weight, double tokens,
                    const char* objective) {
  if (weight == 0) return;
  const Tensor& each = required(c.divergence, extra::divergence, objective);
  loss.terms.push_back({"divergence", each.sum().mul(weight / std::max(tokens, 1.0))});
  metrics.tokens("divergence", each, c.weight);
}

}  // namespace rft::objective
