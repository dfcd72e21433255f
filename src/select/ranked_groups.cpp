#include "rft/select/ranked_groups.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "rft/ops/groups.h"

namespace rft {
namespace {

/// The rows of each group that have a reward, groups in the order of their first rows.
std::vector<std::vector<int64_t>> members_of(const Tensor& rewards, const ops::Groups& groups) {
  const double* reward = rewards.const_data_ptr<double>();
  const auto* group = groups.index().const_data_ptr<int64_t>();
  std::vector<std::vector<int64_t>> out(static_cast<size_t>(groups.count()));
  for (int64_t i = 0; i < rewards.numel(); ++i)
    if (!std::isnan(reward[i])) out[static_cast<size_t>(group[i])].push_back(i);
  std::erase_if(out, [](const auto& rows) { return rows.empty(); });
  std::sort(out.begin(), out.end());
  return out;
}

struct Moments {
  double mean = 0, variance = 0;
};

Moments moments_of(const std::vector<int64_t>& rows, const double* reward) {
  Moments out;
  for (int64_t i : rows) out.mean += reward[i] / static_cast<double>(rows.size());
  for (int64_t i : rows)
    out.variance += (reward[i] - out.mean) * (reward[i] - out.mean) / static_cast<double>(rows.size());
  return out;
}

Tensor chosen(std::vector<int64_t> kept, const Tensor& rewards, const Tensor& group, Metrics& metrics) {
  std::sort(kept.begin(), kept.end());
  Tensor index = at::tensor(kept, at::TensorOptions().dtype(at::kLong));
  double rows = static_cast<double>(rewards.numel());
  metrics.add("select/kept", static_cast<double>(kept.size()) / std::max(rows, 1.0), rows);
  if (!kept.empty()) {
    ops::Groups groups(group.index_select(0, index));
    metrics.add("select/reward_std", groups.deviation(rewards.index_select(0, index)).mean().item<double>(),
                static_cast<double>(kept.size()));
  }
  return index;
}

/// `keep` of the sorted rows, from both ends, such that their rewards vary most.
std::vector<int64_t> most_spread(const std::vector<int64_t>& sorted, int64_t keep, const double* reward) {
  std::vector<int64_t> best;
  double most = -1;
  for (int64_t low = 0; low <= keep; ++low) {
    std::vector<int64_t> rows(sorted.begin(), sorted.begin() + low);
    rows.insert(rows.end(), sorted.end() - (keep - low), sorted.end());
    double variance = moments_of(rows, reward).variance;
    if (variance > most + 1e-12) most = variance, best = rows;
  }
  return best;
}

}  // namespace

void RankedGroups::Options::visit(OptionVisitor& v) {
  v.option("by", by, "what the groups are ranked by", one_of({"variance", "hardness"}));
  v.option("keep", keep, "share of the groups that is kept, rounded up", between(0, 1));
}

Needs RankedGroups::needs() const {
  Needs needs;
  needs.reward = true;
  return needs;
}

int64_t RankedGroups::expected_rows(int64_t rows, int64_t group_size) const {
  if (group_size <= 0) return rows;
  return static_cast<int64_t>(std::ceil(options_.keep * static_cast<double>(rows / group_size))) * group_size;
}

Tensor RankedGroups::select(const Experience& batch, Metrics& metrics) {
  Tensor rewards = ops::row_rewards(batch).cpu().contiguous(), group = batch.group.cpu();
  ops::Groups groups(group);
  const double* reward = rewards.const_data_ptr<double>();
  auto members = members_of(rewards, groups);
  std::vector<std::pair<double, size_t>> ranks;
  for (size_t g = 0; g < members.size(); ++g) {
    Moments m = moments_of(members[g], reward);
    double hardness = m.variance > 1e-16 ? -m.mean : -std::numeric_limits<double>::infinity();
    ranks.emplace_back(options_.by == "variance" ? m.variance : hardness, g);
  }
  std::stable_sort(ranks.begin(), ranks.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  auto count = static_cast<size_t>(std::ceil(options_.keep * static_cast<double>(groups.count())));
  std::vector<int64_t> kept;
  for (size_t at = 0; at < std::min(count, ranks.size()); ++at) {
    const auto& rows = members[ranks[at].second];
    kept.insert(kept.end(), rows.begin(), rows.end());
  }
  return chosen(std::move(kept), rewards, group, metrics);
}

void SpreadRows::Options::visit(OptionVisitor& v) {
  v.option("keep", keep, "rows kept of each group", at_least(2).in("rows"));
}

Needs SpreadRows::needs() const {
  Needs needs;
  needs.reward = true;
  return needs;
}

int64_t SpreadRows::expected_rows(int64_t rows, int64_t group_size) const {
  return group_size > 0 ? rows / group_size * std::min(options_.keep, group_size) : rows;
}

Tensor SpreadRows::select(const Experience& batch, Metrics& metrics) {
  Tensor rewards = ops::row_rewards(batch).cpu().contiguous(), group = batch.group.cpu();
  const double* reward = rewards.const_data_ptr<double>();
  std::vector<int64_t> kept;
  for (auto& rows : members_of(rewards, ops::Groups(group))) {
    std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return reward[a] < reward[b]; });
    int64_t keep = std::min<int64_t>(options_.keep, static_cast<int64_t>(rows.size()));
    for (int64_t i : most_spread(rows, keep, reward)) kept.push_back(i);
  }
  return chosen(std::move(kept), rewards, group, metrics);
}

}  // namespace rft
