#include "objective/dpo_pairs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "objective/pair_columns.h"

namespace rft::objective {
namespace {

using Options = Dpo::Options;

/// e^x doesn't overflow in float32 below this (TRL's bound for alpha_divergence).
constexpr double kExponentMost = 80;

/// [2 pairs, T]: the mask, and ld_alpha where a token stands beyond the length of the shorter answer.
Tensor token_weight(const Columns& c, const Options& o) {
  if (!o.ld_alpha) return c.weight;
  Tensor position = c.weight.cumsum(1), length = c.weight.sum(1, /*keepdim=*/true);
  auto halves = length.chunk(2, 0);
  Tensor shorter = at::minimum(halves[0], halves[1]);
  Tensor beyond = position.gt(at::cat({shorter, shorter}));
  return c.weight.mul(
      at::where(beyond, at::full({}, *o.ld_alpha, c.weight.options()), at::ones({}, c.weight.options())));
}

/// The f-divergence's score of a log-ratio.
Tensor score(const Tensor& x, const Options& o) {
  if (o.f_divergence == "forward_kl") return x.neg().exp().neg().add(1);
  if (o.f_divergence == "js_divergence") return at::log_sigmoid(x).add(std::log(2.0));
  double power = o.f_alpha - 1;
  if (o.f_divergence == "reverse_kl" || std::abs(power) < 1e-6) return x;
  return x.mul(power).clamp_max(kExponentMost).exp().sub(1).div(power);
}

/// -(1 - e) log s(z) - e log s(-z).
Tensor smoothed(const Tensor& z, double e) { return at::log_sigmoid(z).mul(e - 1).sub(at::log_sigmoid(z.neg()), e); }

Tensor exo_pair(const Tensor& z, double e) {
  Tensor chosen = z.sigmoid().mul(at::log_sigmoid(z).sub(std::log1p(-e)));
  return chosen.add(z.neg().sigmoid().mul(at::log_sigmoid(z.neg()).sub(std::log(e))));
}

Tensor discopop(const Tensor& z, double tau) {
  Tensor blend = z.div(tau).sigmoid();
  return at::log_sigmoid(z).neg().mul(blend.neg().add(1)).add(z.neg().exp().mul(blend));
}

/// Variants of the difference of scores; undefined where `variant` is not one.
Tensor of_difference(const std::string& variant, const Pairs& p, const Options& o) {
  Tensor chosen = score(p.chosen_ratio, o), rejected = score(p.rejected_ratio, o);
  Tensor z = chosen.sub(rejected).mul(o.beta);
  if (variant == "sigmoid") return at::log_sigmoid(z).neg();
  if (variant == "hinge") return z.neg().add(1).relu();
  if (variant == "exo_pair") return exo_pair(z, o.label_smoothing);
  if (variant == "discopop") return discopop(z, o.discopop_tau);
  if (variant == "soft_label") {
    Tensor kept = p.margin.isnan().logical_not();
    Tensor sure = zero_where_masked(p.margin, kept).div(o.reward_scale).sigmoid();
    Tensor loss = at::log_sigmoid(z).mul(sure).add(at::log_sigmoid(z.neg()).mul(sure.neg().add(1)));
    return zero_where_masked(loss.neg(), kept);
  }
  if (variant == "robust") {
    double e = o.label_smoothing;
    return at::log_sigmoid(z).mul(e - 1).add(at::log_sigmoid(z.neg()), e).div(1 - 2 * e);
  }
  Tensor mean = chosen.div(p.chosen_tokens.clamp_min(1)).sub(rejected.div(p.rejected_tokens.clamp_min(1)));
  if (variant == "ipo") return mean.sub(1 / (2 * o.beta)).square();
  if (variant == "sigmoid_norm") return at::log_sigmoid(mean.mul(o.beta)).neg();
  return {};
}

/// [pairs, whole]: where each of `x` stands among the sorted `all`, as weights that sum to 1; equal values share.
/// The nearest counts, so that a value computed again with another rounding is still found.
Tensor standing(const Tensor& x, const Tensor& all) {
  Tensor distance = x.detach().unsqueeze(1).sub(all.unsqueeze(0)).abs();
  Tensor nearest = distance.le(std::get<0>(distance.min(1, /*keepdim=*/true))).to(x.scalar_type());
  return nearest.div(nearest.sum(1, /*keepdim=*/true));
}

}  // namespace

Pairs read_pairs(const Columns& c, const Options& o) {
  PairOf tokens = pair_sums(c.weight, c.weight, "dpo");  // says so where the rows are not even in number
  Tensor weight = token_weight(c, o);
  PairOf logp = pair_sums(c.logp, weight, "dpo"),
         ref = pair_sums(required(c.ref_logp, "ref_logp", "dpo"), weight, "dpo");
  Pairs p;
  p.chosen = logp.chosen, p.rejected = logp.rejected;
  p.ref_chosen = ref.chosen, p.ref_rejected = ref.rejected;
  p.chosen_ratio = logp.chosen.sub(ref.chosen), p.rejected_ratio = logp.rejected.sub(ref.rejected);
  p.chosen_tokens = tokens.chosen, p.rejected_tokens = tokens.rejected;
  return p;
}

Tensor pair_loss(const std::string& variant, const Pairs& p, const Options& o) {
  if (Tensor loss = of_difference(variant, p, o); loss.defined()) return loss;
  const Tensor &x = p.chosen_ratio, &y = p.rejected_ratio;
  double b = o.beta;
  if (variant == "sppo_hard") return x.sub(0.5 / b).square().add(y.add(0.5 / b).square());
  if (variant == "apo_zero") return x.mul(b).sigmoid().neg().add(1).add(y.mul(b).sigmoid());
  if (variant == "apo_down") return x.mul(b).sigmoid().add(1).sub(x.sub(y).mul(b).sigmoid());
  Tensor chosen = at::log_sigmoid(x.mul(b)).neg(), rejected = at::log_sigmoid(y.mul(-b));
  if (variant == "bco_pair") return chosen.sub(rejected);
  return chosen.sub(at::log_sigmoid(x.mul(-b)), 0.5).sub(rejected, 0.5);  // nca_pair
}

bool beyond_pairs(const std::string& variant) { return variant == "aot" || variant == "aot_unpaired"; }

Dpo::Whole whole_of(const Pairs& p) {
  auto sorted = [](const Tensor& x) { return std::get<0>(x.detach().sort(0)); };
  Dpo::Whole whole;
  whole.policy_margin = sorted(p.chosen.sub(p.rejected)), whole.ref_margin = sorted(p.ref_chosen.sub(p.ref_rejected));
  whole.chosen = sorted(p.chosen_ratio), whole.rejected = sorted(p.rejected_ratio);
  return whole;
}

Tensor sorted_loss(const std::string& variant, const Pairs& p, const Dpo::Whole& whole, const Options& o) {
  auto sum = [&](const Tensor& difference, const Tensor& share) {
    return smoothed(difference.mul(o.beta), o.label_smoothing).mul(share).sum();
  };
  if (variant == "aot") {
    Tensor margin = p.chosen.sub(p.rejected);
    return sum(margin.unsqueeze(1).sub(whole.ref_margin.unsqueeze(0)), standing(margin, whole.policy_margin));
  }
  Tensor loss = sum(p.chosen_ratio.unsqueeze(1).sub(whole.rejected), standing(p.chosen_ratio, whole.chosen))
                    .add(sum(whole.chosen.unsqueeze(0).sub(p.rejected_ratio.unsqueeze(1)),
                             standing(p.rejected_ratio, whole.rejected)));
  return loss.sub(loss.detach(), 0.5);  // each difference was counted twice, but its gradient once
}

}  // namespace rft::objective
