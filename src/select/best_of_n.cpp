#include "rft/select/best_of_n.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "rft/ops/groups.h"

namespace rft {

void BestOfN::Options::visit(OptionVisitor& v) {
  v.option("keep", keep, "rows kept of each group", at_least(1).in("rows"));
  v.option("min_reward", min_reward, "rows of lower reward are never kept");
}

Needs BestOfN::needs() const {
  Needs needs;
  needs.reward = true;
  return needs;
}

int64_t BestOfN::expected_rows(int64_t rows, int64_t group_size) const {
  return group_size > 0 ? rows / group_size * std::min(options_.keep, group_size) : rows;
}

Tensor BestOfN::select(const Experience& batch, Metrics& metrics) {
  Tensor rewards = ops::row_rewards(batch).cpu().contiguous();
  ops::Groups groups(batch.group.cpu());
  const double* reward = rewards.const_data_ptr<double>();
  const auto* group = groups.index().const_data_ptr<int64_t>();
  std::vector<int64_t> order, kept, taken(static_cast<size_t>(groups.count()), 0);
  for (int64_t i = 0; i < rewards.numel(); ++i)
    if (!std::isnan(reward[i]) && !(options_.min_reward && reward[i] < *options_.min_reward)) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return reward[a] > reward[b]; });
  for (int64_t i : order)
    if (taken[static_cast<size_t>(group[i])]++ < options_.keep) kept.push_back(i);
  std::sort(kept.begin(), kept.end());

  Tensor index = at::tensor(kept, at::TensorOptions().dtype(at::kLong));
  double rows = static_cast<double>(rewards.numel());
  metrics.add("select/kept", static_cast<double>(kept.size()) / std::max(rows, 1.0), rows);
  if (!kept.empty())
    metrics.add("select/reward", rewards.index_select(0, index).mean().item<double>(),
                static_cast<double>(kept.size()));
  return index;
}

}  // namespace rft
