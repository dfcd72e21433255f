#include "rft/objective/diffusion_nft.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/estimates.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace objective;

constexpr double kLeastDistance = 1e-5;

/// [B, T]: how well a sample did, 0 to 1.
Tensor quality(const Tensor& advantage, const DiffusionNft::Options& o) {
  Tensor a = advantage.clamp(-o.advantage_clip, o.advantage_clip);
  if (o.advantages == "positive_only") a = a.clamp_min(0);
  if (o.advantages == "negative_only") a = a.clamp_max(0);
  if (o.advantages == "one_only") a = a.gt(0).to(a.scalar_type());
  if (o.advantages == "binary") a = a.sign();
  return a.div(o.advantage_clip).clamp(-1, 1).div(2).add(0.5);
}

/// [B, T]: the squared error, divided by its own size so that all noise levels count alike.
Tensor scaled_error(const Tensor& estimate, const Tensor& clean, const Tensor& mask) {
  Tensor off = masked_difference(estimate, clean, mask);
  Tensor size = mean_per_decision(off.detach().abs().to(at::kDouble)).clamp_min(kLeastDistance);
  return mean_per_decision(off.square()).div(size.to(off.scalar_type()));
}

}  // namespace

void DiffusionNft::Options::visit(OptionVisitor& v) {
  v.option("beta", beta, "how far the two mixtures are from the old policy: large is bold", above(0));
  v.option("advantage_clip", advantage_clip, "advantages beyond this are as good (or bad) as it gets", above(0));
  v.option("advantages", advantages, "which advantages count, and how",
           one_of({"all", "positive_only", "negative_only", "one_only", "binary"}));
  v.option("kl_weight", kl_weight, "weight of the squared distance of the denoiser's answers to the reference's",
           at_least(0));
}

Needs DiffusionNft::needs() const {
  Needs needs;
  needs.reward = needs.advantage = needs.estimate = true;
  needs.ref_estimate = options_.kl_weight != 0;
  return needs;
}

Loss DiffusionNft::loss(const Evaluation& now, const Experience& batch) const {
  const Tensor x = required(now.extra.find(extra::estimate), extra::estimate, "diffusion_nft");
  const Tensor old =
      required(batch.extra.find(extra::old_estimate), extra::old_estimate, "diffusion_nft").to(x.dtype());
  const Tensor clean = required(batch.action, "action", "diffusion_nft").to(x.dtype());
  Columns c = read_columns(now, batch, batch.mask);
  const double beta = options_.beta, tokens = std::max(batch.totals.tokens, 1.0);
  Tensor r = quality(required(c.advantage, "advantage", "diffusion_nft"), options_);
  Tensor positive = scaled_error(x.mul(beta).add(old, 1 - beta), clean, c.mask);
  Tensor negative = scaled_error(old.mul(1 + beta).sub(x, beta), clean, c.mask);
  Tensor each = r.mul(positive).add(r.neg().add(1).mul(negative)).mul(options_.advantage_clip / beta);
  Loss out;
  out.terms.push_back({"policy_loss", each.mul(c.weight).sum().div(tokens)});
  MetricSums metrics;
  metrics.tokens("policy_loss", each, c.weight);
  metrics.tokens("positive_loss", positive, c.weight), metrics.tokens("negative_loss", negative, c.weight);
  add_answer_divergence(out, metrics, now, c, options_.kl_weight, tokens, "diffusion_nft");
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
