#include "rft/reward/optimal_transport.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

/// [T, S]: 1 - cosine, or the distance.
Tensor cost_between(const Tensor& x, const Tensor& y, const std::string& kind) {
  if (kind == "euclidean") return at::cdist(x, y);
  auto unit = [](const Tensor& v) { return v.div(v.norm(2, {1}, true).clamp_min(1e-12)); };
  return unit(x).matmul(unit(y).t()).neg().add(1);
}

}  // namespace

/// In logarithms, so that a small epsilon does not underflow.
TransportPlan sinkhorn(const Tensor& cost, double epsilon, int64_t iterations) {
  int64_t T = cost.size(0), S = cost.size(1);
  double log_row = -std::log(static_cast<double>(T)), log_column = -std::log(static_cast<double>(S));
  Tensor score = cost.div(-epsilon);
  Tensor row = at::zeros({T, 1}, cost.options()), column = at::zeros({1, S}, cost.options());
  for (int64_t i = 0; i < iterations; ++i) {
    column = score.add(row).logsumexp({0}, true).neg().add(log_column);
    row = score.add(column).logsumexp({1}, true).neg().add(log_row);
  }
  Tensor plan = score.add(row).add(column).exp();
  double off = plan.sum(0).sub(1.0 / static_cast<double>(S)).abs().sum().item<double>();
  return {plan, off};
}

void OptimalTransport::Options::visit(OptionVisitor& v) {
  v.option("demonstrations", demonstrations, "episodes that show the way: rows {\"observations\": [[..], ..]}",
           required());
  v.option("features", features, "which numbers of an observation count; empty = all", at_least(0));
  v.option("cost", cost, "between two observations: 1 - cosine, or their distance", one_of({"cosine", "euclidean"}));
  v.option("standardize", standardize, "subtract the demonstrations' mean and divide by their deviation first");
  v.option("epsilon", epsilon, "weight of the plan's entropy", above(0));
  v.option("iterations", iterations, "of Sinkhorn's algorithm", at_least(1));
  v.option("scale", scale, "the reward is minus the cost times this", above(0));
}

OptimalTransport::OptimalTransport(Options options)
    : options_(std::move(options)), rows_(Rows::load(options_.demonstrations)) {
  if (rows_.size() == 0) bad_input(options_.demonstrations, "at least one episode is needed");
  rows_.require("observations");
}

void OptimalTransport::read(int64_t observation) {
  if (!shown_.empty()) return;
  std::vector<Tensor> seen;
  for (int64_t i = 0; i < rows_.size(); ++i) {
    seen.push_back(rows_.numbers(i, "observations", observation));
    if (seen.back().size(0) == 0) bad_input(rows_.where(i), "`observations` must not be empty");
  }
  Tensor all = features_of(at::cat(seen));
  mean_ = all.mean(0), deviation_ = all.std(0, /*unbiased=*/false).clamp_min(1e-6);
  for (const Tensor& one : seen) shown_.push_back(features_of(one));
}

Tensor OptimalTransport::features_of(const Tensor& observations) const {
  Tensor x = observations;
  if (!options_.features.empty()) {
    std::vector<int64_t> index;
    for (double feature : options_.features) {
      if (feature >= static_cast<double>(x.size(1)))
        bad_input("reward.features", "an observation has ", x.size(1), " numbers, the first is 0; got ", feature);
      index.push_back(static_cast<int64_t>(feature));
    }
    x = x.index_select(1, at::tensor(index, at::kLong));
  }
  return options_.standardize && mean_.defined() ? x.sub(mean_).div(deviation_) : x;
}

Rewards OptimalTransport::score(const Experience& batch) {
  at::NoGradGuard no_grad;
  Tensor seen = batch.extra.tensor(extra::raw_observation), last = batch.extra.tensor(extra::last);
  read(seen.size(2));
  Tensor value = at::zeros(batch.mask.sizes(), at::kFloat), total = at::zeros({batch.rows()}, at::kFloat);
  for (int64_t i = 0; i < batch.rows(); ++i) {
    int64_t T = batch.mask[i].sum().item<int64_t>();
    if (T == 0) {
      value[i].fill_(std::nan("")), total[i].fill_(std::nan(""));
      continue;
    }
    if (last[i].sum().item<int64_t>() != 1 || !last[i][T - 1].item<bool>())
      bad_input("reward", "optimal_transport judges whole episodes: leave out rollout.steps");
    Tensor x = features_of(seen[i].narrow(0, 0, T).to(at::kDouble)), best;
    double least = std::numeric_limits<double>::infinity();
    for (const Tensor& shown : shown_) {
      Tensor cost = cost_between(x, shown, options_.cost);
      Tensor each = sinkhorn(cost, options_.epsilon, options_.iterations).plan.mul(cost).sum(1);
      if (double sum = each.sum().item<double>(); sum < least) least = sum, best = each;
    }
    value[i].narrow(0, 0, T).copy_(best.mul(-options_.scale));
    total[i] = -options_.scale * least;
  }
  Rewards out;
  out.value = value;
  out.components.push_back({"optimal_transport", total, 1});
  return out;
}

}  // namespace rft
