#include "rft/credit/baselines.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "credit/rewards.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace credit;

/// log of n over k; -inf where k is not in 0 .. n.
double log_choose(int64_t n, int64_t k) {
  if (k < 0 || k > n) return -std::numeric_limits<double>::infinity();
  auto f = [](int64_t x) { return std::lgamma(static_cast<double>(x) + 1); };
  return f(n) - f(k) - f(n - k);
}

/// The unbiased estimate of the best of k of sorted rewards, leaving out the one at `without` (-1: none).
double best_of(const std::vector<double>& sorted, int64_t k, int64_t without) {
  int64_t n = static_cast<int64_t>(sorted.size()) - (without >= 0), rank = 0;
  double sum = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(sorted.size()); ++i) {
    if (i == without) continue;
    sum += std::exp(log_choose(rank++, k - 1) - log_choose(n, k)) * sorted[i];
  }
  return sum;
}

/// The group's advantages, in the order of `sorted`.
std::vector<double> max_at_k(const std::vector<double>& sorted, int64_t k) {
  auto n = static_cast<int64_t>(sorted.size());
  std::vector<double> out(sorted.size(), 0);
  if (n <= k) return out;
  for (int64_t i = 0; i < n; ++i) {
    double s = std::exp(log_choose(i, k - 1) - log_choose(n, k)) * sorted[i];
    for (int64_t j = i + 1; j < n; ++j) s += std::exp(log_choose(j - 1, k - 2) - log_choose(n, k)) * sorted[j];
    out[i] = static_cast<double>(n) / static_cast<double>(k) * s - best_of(sorted, k, i);
  }
  return out;
}

}  // namespace

GreedyBaseline::GreedyBaseline(Options options) : options_(std::move(options)) { options_.check(); }

Needs GreedyBaseline::needs() const {
  Needs needs = options_.needs();
  needs.greedy = true;
  return needs;
}

void GreedyBaseline::assign(Experience& batch, Metrics& metrics) {
  Tensor greedy = batch.extra.find(extra::greedy_reward);
  if (!greedy.defined()) run_failed("greedy_baseline", "`greedy_reward` is needed, and the batch has none");
  ops::Groups groups(batch.group);
  Tensor reward = penalised(ops::row_rewards(batch), batch, options_, metrics);
  metrics.add("greedy_reward", ops::nan_mean(greedy.to(at::kDouble)).item<double>(), static_cast<double>(batch.rows()));
  finish(batch, metrics, groups, reward.sub(greedy.to(at::kDouble)), groups.deviation(ops::row_rewards(batch)));
}

LengthBaseline::LengthBaseline(Options options) : options_(std::move(options)) { options_.check(); }

Needs LengthBaseline::needs() const { return options_.needs(); }

void LengthBaseline::assign(Experience& batch, Metrics& metrics) {
  ops::Groups groups(batch.group);
  Tensor reward = penalised(ops::row_rewards(batch), batch, options_, metrics);
  Tensor length = batch.mask.sum(1).to(at::kDouble).masked_fill(reward.isnan(), std::nan(""));
  Tensor baseline = groups.sum(reward.mul(length)).div(groups.sum(length));
  finish(batch, metrics, groups, reward.sub(baseline), groups.deviation(reward));
}

void MaxAtK::Options::visit(OptionVisitor& v) {
  v.option("k", k, "how many answers the best is taken of; groups must be larger", at_least(1).in("rows"));
  RewardOptions::visit(v);
}

MaxAtK::MaxAtK(Options options) : options_(std::move(options)) { options_.check(); }

Needs MaxAtK::needs() const { return options_.needs(); }

void MaxAtK::assign(Experience& batch, Metrics& metrics) {
  ops::Groups groups(batch.group);
  Tensor reward = penalised(ops::row_rewards(batch), batch, options_, metrics).contiguous();
  Tensor advantage = at::zeros_like(reward);
  const double* r = reward.const_data_ptr<double>();
  const auto* group = groups.index().const_data_ptr<int64_t>();
  std::vector<std::vector<int64_t>> members(static_cast<size_t>(groups.count()));
  for (int64_t i = 0; i < reward.numel(); ++i)
    if (!std::isnan(r[i])) members[static_cast<size_t>(group[i])].push_back(i);
  for (auto& rows : members) {
    std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return r[a] < r[b]; });
    std::vector<double> sorted;
    for (int64_t i : rows) sorted.push_back(r[i]);
    std::vector<double> values = max_at_k(sorted, options_.k);
    for (size_t at = 0; at < rows.size(); ++at) advantage.data_ptr<double>()[rows[at]] = values[at];
  }
  finish(batch, metrics, groups, advantage, groups.deviation(reward));
}

}  // namespace rft
