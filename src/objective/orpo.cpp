#include "rft/objective/orpo.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/pair_columns.h"

namespace rft {
namespace {

using namespace objective;

constexpr double kMost = -1e-7;

/// log(1 - e^x) for x <= kMost, precise at both ends.
Tensor log1mexp(const Tensor& x) {
  Tensor near = x.gt(-0.6931471805599453);
  // Each form sees only its own half, so that the other's infinities don't reach the gradient.
  Tensor half = at::full({}, -0.6931471805599453, x.options());
  return at::where(near, at::where(near, x, half).expm1().neg().log(), at::where(near, half, x).exp().neg().log1p());
}

}  // namespace

void Orpo::Options::visit(OptionVisitor& v) {
  v.option("beta", beta, "weight of the odds ratio beside the likelihood", at_least(0));
}

Needs Orpo::needs() const {
  Needs needs;
  needs.data = Needs::Data::pairs;
  return needs;
}

Loss Orpo::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  PairOf logp = pair_means(c.logp, c.weight, "orpo"), tokens = pair_sums(c.weight, c.weight, "orpo");
  Tensor kept = tokens.chosen.gt(0).logical_and(tokens.rejected.gt(0));
  Tensor chosen = logp.chosen.clamp_max(kMost), rejected = logp.rejected.clamp_max(kMost);
  Tensor log_odds = chosen.sub(rejected).sub(log1mexp(chosen).sub(log1mexp(rejected)));
  log_odds = zero_where_masked(log_odds, kept);
  Tensor ratio = zero_where_masked(at::log_sigmoid(log_odds), kept);
  Loss out;
  out.terms.push_back({"nll", chosen_nll(c, batch.totals.chosen)});
  out.terms.push_back({"odds_ratio", ratio.sum().mul(-options_.beta / std::max(batch.totals.rows / 2, 1.0))});
  MetricSums metrics;
  add_pair_metrics(metrics, {logp.chosen.mul(options_.beta), logp.rejected.mul(options_.beta)}, logp, c);
  metrics.tokens("log_odds_chosen", log_odds, kept.to(log_odds.scalar_type()));
  metrics.tokens("log_odds_ratio", ratio, kept.to(ratio.scalar_type()));
  int64_t pairs = c.logp.size(0) / 2;
  metrics.tokens("nll_loss", c.logp.narrow(0, 0, pairs).neg(), c.weight.narrow(0, 0, pairs));
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
