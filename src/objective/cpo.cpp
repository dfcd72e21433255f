#include "rft/objective/cpo.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/pair_columns.h"

namespace rft {
namespace {

using namespace objective;

bool of_means(const Cpo::Options& o) { return o.variant == "ipo" || o.variant == "simpo"; }

/// [pairs]: the loss of each pair, d the difference of the answers' scores.
Tensor pair_loss(const Tensor& d, const Cpo::Options& o) {
  Tensor z = d.mul(o.beta);
  if (o.variant == "hinge") return z.neg().add(1).relu();
  if (o.variant == "ipo") return d.sub(1 / (2 * o.beta)).square();
  if (o.variant == "simpo") z = z.sub(o.gamma);
  return at::log_sigmoid(z).mul(o.label_smoothing - 1).sub(at::log_sigmoid(z.neg()), o.label_smoothing);
}

}  // namespace

void Cpo::Options::visit(OptionVisitor& v) {
  v.option("variant", variant, "published form of the loss", one_of({"sigmoid", "hinge", "ipo", "simpo"}));
  v.option("beta", beta, "how steeply the answers' difference counts", above(0));
  v.option("label_smoothing", label_smoothing, "share of the pairs that are the wrong way round: sigmoid, simpo",
           between(0, 1));
  v.option("gamma", gamma, "simpo: the margin that beta times the difference must reach", at_least(0));
  v.option("alpha", alpha, "AlphaPO: how unevenly likely and unlikely answers are moved; 0 = log-probabilities");
  v.option("nll_weight", nll_weight, "weight of the chosen answers' negative log-likelihood", at_least(0));
}

Needs Cpo::needs() const {
  Needs needs;
  needs.data = Needs::Data::pairs;
  return needs;
}

Loss Cpo::loss(const Evaluation& now, const Experience& batch) const {
  const auto& o = options_;
  Columns c = read_columns(now, batch, batch.mask);
  PairOf logp = of_means(o) ? pair_means(c.logp, c.weight, "cpo") : pair_sums(c.logp, c.weight, "cpo");
  auto score = [&](const Tensor& x) { return o.alpha == 0 ? x : x.mul(-o.alpha).expm1().div(-o.alpha); };
  PairOf scores{score(logp.chosen), score(logp.rejected)};
  Tensor preference = pair_loss(scores.chosen.sub(scores.rejected), o).sum().div(std::max(batch.totals.rows / 2, 1.0));
  Loss out;
  out.terms.push_back({"preference", preference});
  if (o.nll_weight != 0) out.terms.push_back({"nll", chosen_nll(c, batch.totals.chosen).mul(o.nll_weight)});
  MetricSums metrics;
  add_pair_metrics(metrics, {scores.chosen.mul(o.beta), scores.rejected.mul(o.beta)}, logp, c);
  int64_t pairs = c.logp.size(0) / 2;
  metrics.tokens("nll_loss", c.logp.narrow(0, 0, pairs).neg(), c.weight.narrow(0, 0, pairs));
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
