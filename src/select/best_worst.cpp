#include "rft/select/best_worst.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "rft/ops/groups.h"

namespace rft {
namespace {

struct Extremes {
  int64_t first = -1, best = -1, worst = -1;  ///< rows
};

/// Of each group, in the order of the groups' first rows.
std::vector<Extremes> extremes_of(const Tensor& rewards, const Tensor& numbers) {
  ops::Groups groups(numbers);
  const double* reward = rewards.const_data_ptr<double>();
  const auto* group = groups.index().const_data_ptr<int64_t>();
  std::vector<Extremes> out(static_cast<size_t>(groups.count()));
  for (int64_t i = 0; i < rewards.numel(); ++i) {
    if (std::isnan(reward[i])) continue;
    Extremes& e = out[static_cast<size_t>(group[i])];
    if (e.first < 0) e = {i, i, i};
    if (reward[i] > reward[e.best]) e.best = i;
    if (reward[i] < reward[e.worst]) e.worst = i;
  }
  std::sort(out.begin(), out.end(), [](const Extremes& a, const Extremes& b) { return a.first < b.first; });
  return out;
}

}  // namespace

Needs BestWorst::needs() const {
  Needs needs;
  needs.reward = true;
  return needs;
}

int64_t BestWorst::expected_rows(int64_t rows, int64_t group_size) const {
  if (group_size <= 0) return rows;
  return group_size == 1 ? 0 : rows / group_size * 2;
}

Tensor BestWorst::select(const Experience& batch, Metrics& metrics) {
  Tensor rewards = ops::row_rewards(batch).cpu().contiguous();
  std::vector<int64_t> best, worst;
  for (const Extremes& e : extremes_of(rewards, batch.group.cpu()))
    if (e.best != e.worst) best.push_back(e.best), worst.push_back(e.worst);
  auto index = [](const std::vector<int64_t>& rows) { return at::tensor(rows, at::TensorOptions().dtype(at::kLong)); };
  Tensor chosen = index(best), rejected = index(worst);
  double rows = static_cast<double>(rewards.numel());
  auto pairs = static_cast<double>(best.size());
  metrics.add("select/kept", 2 * pairs / std::max(rows, 1.0), rows);
  if (pairs > 0)
    metrics.add("select/margin",
                rewards.index_select(0, chosen).sub(rewards.index_select(0, rejected)).mean().item<double>(), pairs);
  return at::cat({chosen, rejected});
}

}  // namespace rft
