#include "rft/objective/cpo.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/pair_columns.h"
#include "rft/core/error.h"

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
  v.option("nll_weight", nll_weight, "weight of the chosen answers' negative log-likelihood, or of the gold answers'",
           at_least(0));
  v.option("gold", gold, "the rows' `completion` is a gold answer beside the pair, whose likelihood is raised (TPO)");
}

Cpo::Cpo(Options options) : options_(std::move(options)) {
  if (options_.gold && options_.nll_weight == 0)
    bad_input("objective.gold", "nothing would be learned from the gold answers: nll_weight is 0");
}

Needs Cpo::needs() const {
  Needs needs;
  needs.data = Needs::Data::pairs, needs.gold = options_.gold;
  return needs;
}

Loss Cpo::loss(const Evaluation& now, const Experience& batch) const {
  const auto& o = options_;
  int64_t blocks = needs().blocks(), pairs = batch.rows() / blocks;
  if (batch.rows() % blocks) run_failed("cpo", "a batch has ", blocks, " equal blocks of rows; got ", batch.rows());
  Columns all = read_columns(now, batch, batch.mask), c = first_rows(all, 2 * pairs);
  PairOf logp = of_means(o) ? pair_means(c.logp, c.weight, "cpo") : pair_sums(c.logp, c.weight, "cpo");
  auto score = [&](const Tensor& x) { return o.alpha == 0 ? x : x.mul(-o.alpha).expm1().div(-o.alpha); };
  PairOf scores{score(logp.chosen), score(logp.rejected)};
  Tensor preference = pair_loss(scores.chosen.sub(scores.rejected), o)
                          .sum()
                          .div(std::max(batch.totals.rows / static_cast<double>(blocks), 1.0));
  Loss out;
  out.terms.push_back({"preference", preference});
  int64_t likely = o.gold ? 2 * pairs : 0;  // whose likelihood is raised, from this row on
  double tokens = std::max(o.gold ? batch.totals.given : batch.totals.chosen, 1.0);
  Tensor nll = all.logp.narrow(0, likely, pairs).neg();
  if (o.nll_weight != 0) out.terms.push_back({"nll", nll.sum().div(tokens).mul(o.nll_weight)});
  MetricSums metrics;
  add_pair_metrics(metrics, {scores.chosen.mul(o.beta), scores.rejected.mul(o.beta)}, logp, c);
  metrics.tokens("nll_loss", nll, all.weight.narrow(0, likely, pairs));
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
