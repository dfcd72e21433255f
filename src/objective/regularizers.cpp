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
  v.option("kl_target", kl_target, "move kl_weight until the KL divergence a token is this; null: kl_weight stays",
           above(0).in("nats"));
  v.option("kl_horizon", kl_horizon, "how slowly kl_weight moves", at_least(1).in("steps"));
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
  if (kl_target && kl_weight == 0)
    bad_input("objective", "kl_target moves kl_weight from where it begins, which must be above 0");
  bool mixes = divergence == "jensen_shannon" || divergence == "alpha";
  if (mixes && (divergence_mix == 0 || divergence_mix == 1))
    bad_input("objective", "divergence_mix must not be 0 or 1 for ", divergence, "; got ", divergence_mix);
  if (divergence_weight != 0) needs.divergence = Divergence{objective::divergence_kind(divergence), divergence_mix};
  return needs;
}

namespace objective {

void adapt_kl_weight(RegularizerOptions& o, const Metrics& metrics) {
  if (!o.kl_target || !metrics.has("kl")) return;
  double error = std::clamp(metrics.mean("kl") / *o.kl_target - 1, -0.2, 0.2);
  o.kl_weight *= 1 + error / o.kl_horizon;
}

State regularizer_state(const RegularizerOptions& o) {
  if (!o.kl_target) return {};
  return {{"kl_weight", at::scalar_tensor(o.kl_weight, at::kDouble)}};
}

void load_regularizer_state(RegularizerOptions& o, const State& state) {
  auto found = state.find("kl_weight");
  if (o.kl_target && found != state.end()) o.kl_weight = found->second.item<double>();
}

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
