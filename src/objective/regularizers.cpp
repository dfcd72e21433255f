#include "objective/regularizers.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/divergence.h"
#include "rft/core/error.h"

namespace rft {

void RegularizerOptions::visit(OptionVisitor& v) {
  v.option("entropy_weight", entropy_weight, "weight of the mean entropy, which is maximised");
  v.option("kl_weight", kl_weight, "weight of the KL divergence to the reference policy in the loss", at_least(0));
  v.option("kl_estimator", kl_estimator, "with x = logp - ref_logp: k1 = x, k2 = x^2 / 2, k3 = e^-x + x - 1",
           one_of({"k1", "k2", "k3"}));
  v.option("divergence_weight", divergence_weight,
           "weight of a divergence of the whole distributions from the reference's (DPH-RL)", at_least(0));
  v.option("divergence", divergence, "which divergence",
           one_of({"reverse_kl", "forward_kl", "jensen_shannon", "alpha"}));
  v.option("divergence_mix", divergence_mix, "jensen_shannon: the reference's share of the mixture; alpha: alpha");
}

Needs RegularizerOptions::needs() const {
  Needs needs;
  needs.entropy = entropy_weight != 0;
  needs.ref_logp = kl_weight != 0;
  bool mixes = divergence == "jensen_shannon" || divergence == "alpha";
  if (mixes && (divergence_mix == 0 || divergence_mix == 1))
    bad_input("objective", "divergence_mix must not be 0 or 1 for ", divergence, "; got ", divergence_mix);
  if (divergence_weight != 0) needs.divergence = Divergence{objective::divergence_kind(divergence), divergence_mix};
  return needs;
}

namespace objective {

void add_regularizers(Loss& loss, MetricSums& metrics, const Columns& c, const RegularizerOptions& o, double tokens,
                      const char* name) {
  tokens = std::max(tokens, 1.0);
  if (o.entropy_weight != 0) {
    Tensor sum = required(c.entropy, "entropy", name).mul(c.weight).sum();
    loss.terms.push_back({"entropy_bonus", sum.mul(-o.entropy_weight / tokens)});
  }
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  add_divergence(loss, metrics, c, o.divergence_weight, tokens, name);
  if (o.kl_weight == 0) return;
  Tensor kl = kl_estimate(c.logp, required(c.ref_logp, "ref_logp", name), o.kl_estimator);
  loss.terms.push_back({"kl_penalty", kl.mul(c.weight).sum().mul(o.kl_weight / tokens)});
  metrics.tokens("kl", kl, c.weight);
}

}  // namespace objective
}  // namespace rft
