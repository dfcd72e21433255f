#include "rft/select/gvm.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/ops/groups.h"

namespace rft {
namespace {

/// [B] float64: the norm of each answer's gradient at the logits, but for a factor between 1 and sqrt(2).
Tensor logit_gradients(const Experience& batch) {
  Tensor q = batch.logp.to(at::kCPU, at::kDouble).exp();
  Tensor missing = at::where(batch.mask.cpu(), q.neg().add(1), at::zeros({}, at::kDouble));
  return missing.square().sum(1).sqrt();
}

}  // namespace

void Gvm::Options::visit(OptionVisitor& v) {
  v.option("solved", solved, "the reward at which an answer counts as right");
  v.option("penalty", penalty, "how soon a context counts as hopeless: at pass rates about the root of this",
           at_least(0));
  v.option("gradient", gradient, "whether the norm of an answer's gradient counts: that at the logits",
           one_of({"logits", "none"}));
  v.option("decay", decay, "how much of what was known of a context is kept when it is asked again", between(0, 1));
  v.option("keep", keep, "right answers kept of each context at most", at_least(1).in("rows"));
  v.option("least", least, "answers of each context at least", at_least(1).in("answers"));
}

Needs Gvm::needs() const {
  Needs needs;
  needs.reward = true;
  return needs;
}

int64_t Gvm::expected_rows(int64_t rows, int64_t group_size) const {
  return group_size > 0 ? rows / group_size * options_.keep : rows;
}

double Gvm::weight(int64_t row) const {
  auto found = tallies_.find(row);
  Tally tally = found == tallies_.end() ? Tally{} : found->second;
  double rate = std::max(tally.passed / tally.tried, 1e-6);
  double norm = options_.gradient == "none" ? 1 : tally.norms / std::max(tally.passed, 1e-6);
  return norm / std::sqrt(rate + options_.penalty / rate);
}

std::vector<int64_t> Gvm::allocate(const std::vector<int64_t>& rows, int64_t answers) {
  auto count = static_cast<int64_t>(rows.size());
  std::vector<int64_t> out(rows.size(), std::min(options_.least, answers / std::max<int64_t>(count, 1)));
  int64_t left = answers - std::accumulate(out.begin(), out.end(), int64_t{0});
  std::vector<double> share;
  for (int64_t row : rows) share.push_back(weight(row) + 1e-12);  // alike where no gradient is left
  double total = std::accumulate(share.begin(), share.end(), 0.0);
  std::vector<std::pair<double, size_t>> remainders;
  int64_t given = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    double exact = static_cast<double>(left) * share[i] / total, whole = std::floor(exact);
    out[i] += static_cast<int64_t>(whole), given += static_cast<int64_t>(whole);
    remainders.emplace_back(whole - exact, i);  // the largest remainder first
  }
  std::stable_sort(remainders.begin(), remainders.end());
  for (int64_t i = 0; i < left - given; ++i) ++out[remainders[static_cast<size_t>(i)].second];
  return out;
}

Tensor Gvm::select(const Experience& batch, Metrics& metrics) {
  Tensor rewards = ops::row_rewards(batch).cpu().contiguous();
  Tensor numbers = batch.extra.find(extra::row), group = batch.group.cpu().contiguous();
  Tensor norms = logit_gradients(batch);
  const double *reward = rewards.const_data_ptr<double>(), *norm = norms.const_data_ptr<double>();
  std::map<int64_t, std::vector<int64_t>> right;  // by group
  std::map<int64_t, Tally> seen;                  // by the dataset's row
  std::map<int64_t, int64_t> size;
  for (int64_t i = 0; i < rewards.numel(); ++i) {
    int64_t g = group.const_data_ptr<int64_t>()[i];
    ++size[g];
    if (std::isnan(reward[i])) continue;
    bool passed = reward[i] >= options_.solved;
    auto& rows = right[g];
    if (passed && static_cast<int64_t>(rows.size()) < options_.keep) rows.push_back(i);
    if (!numbers.defined()) continue;
    auto& tally = seen.try_emplace(numbers[i].item<int64_t>(), Tally{0, 0, 0}).first->second;
    tally.passed += passed, tally.tried += 1, tally.norms += passed ? norm[i] : 0;
  }
  for (const auto& [row, now] : seen) {
    Tally& tally = tallies_[row];
    tally.passed = tally.passed * options_.decay + now.passed;
    tally.tried = tally.tried * options_.decay + now.tried;
    tally.norms = tally.norms * options_.decay + now.norms;
  }
  std::vector<int64_t> kept;
  double contexts = 0, most = 0;
  for (const auto& [g, rows] : right) kept.insert(kept.end(), rows.begin(), rows.end()), contexts += !rows.empty();
  for (const auto& [g, count] : size) most = std::max(most, static_cast<double>(count));
  std::sort(kept.begin(), kept.end());
  double rows = static_cast<double>(rewards.numel());
  metrics.add("select/kept", static_cast<double>(kept.size()) / std::max(rows, 1.0), rows);
  if (!size.empty()) metrics.add("select/contexts", contexts / static_cast<double>(size.size()));
  metrics.add("select/most", most);
  return at::tensor(kept, at::TensorOptions().dtype(at::kLong));
}

State Gvm::state() const {
  std::vector<double> flat;
  for (const auto& [row, tally] : tallies_)
    flat.insert(flat.end(), {static_cast<double>(row), tally.passed, tally.tried, tally.norms});
  return {{"tallies", at::tensor(flat, at::kDouble).view({-1, 4})}};
}

void Gvm::load_state(const State& state) {
  tallies_.clear();
  auto found = state.find("tallies");
  if (found == state.end()) return;
  Tensor rows = found->second.to(at::kDouble).contiguous();
  if (rows.dim() != 2 || rows.size(1) != 4)
    bad_input("checkpoint", "what gvm knows of its contexts must be [contexts, 4]; it is ", rows.sizes());
  const double* at = rows.const_data_ptr<double>();
  for (int64_t i = 0; i < rows.size(0); ++i)
    tallies_[static_cast<int64_t>(at[4 * i])] = {at[4 * i + 1], at[4 * i + 2], at[4 * i + 3]};
}

}  // namespace rft
