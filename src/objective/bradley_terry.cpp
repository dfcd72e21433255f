#include "rft/objective/bradley_terry.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/pair_columns.h"
#include "rft/core/extra.h"

namespace rft {

using namespace objective;

void BradleyTerry::Options::visit(OptionVisitor& v) {
  v.option("center_weight", center_weight, "weight of the squared sum of a pair's scores, which holds them around 0",
           at_least(0));
}

Needs BradleyTerry::needs() const {
  Needs needs;
  needs.data = Needs::Data::pairs;
  needs.score = true;
  return needs;
}

Loss BradleyTerry::loss(const Evaluation& now, const Experience& batch) const {
  PairOf score = halves(required(now.score, "score", "bradley_terry"), "bradley_terry");
  Tensor difference = score.chosen.sub(score.rejected), excess = difference;
  if (Tensor margin = batch.extra.find(extra::margin); margin.defined())
    excess = excess.sub(halves(margin, "bradley_terry").chosen.to(excess.scalar_type()));
  double pairs = std::max(batch.totals.rows / 2, 1.0);
  Loss out;
  out.terms.push_back({"preference", at::log_sigmoid(excess).sum().div(-pairs)});
  if (options_.center_weight != 0) {
    Tensor sum = score.chosen.add(score.rejected).square().sum();
    out.terms.push_back({"centering", sum.mul(options_.center_weight / pairs)});
  }
  MetricSums metrics;
  Tensor each = at::ones_like(difference).detach();
  metrics.tokens("accuracy", difference.gt(0).to(each.scalar_type()), each);
  metrics.tokens("margin", difference, each);
  metrics.tokens("mean_reward", score.chosen.add(score.rejected).div(2), each);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
