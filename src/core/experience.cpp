#include "rft/core/experience.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/extra.h"

namespace rft {

const std::vector<ExperienceColumn>& experience_columns() {
  static const std::vector<ExperienceColumn> columns = {
      {"action", &Experience::action},     {"mask", &Experience::mask},          {"logp", &Experience::logp},
      {"old_logp", &Experience::old_logp}, {"ref_logp", &Experience::ref_logp},  {"group", &Experience::group},
      {"reward", &Experience::reward},     {"advantage", &Experience::advantage}};
  return columns;
}

int64_t Experience::rows() const {
  for (const auto& [name, column] : experience_columns())
    if ((this->*column).defined()) return (this->*column).size(0);
  return context.rows();
}

int64_t Experience::steps() const {
  if (mask.defined()) return mask.size(1);
  return action.defined() && action.dim() > 1 ? action.size(1) : 0;
}

Experience Experience::select(const Tensor& index) const {
  Experience out;
  out.context = context.select(index);
  out.extra = extra.select(index);
  for (const auto& [name, column] : experience_columns())
    if ((this->*column).defined()) out.*column = (this->*column).index_select(0, index.to((this->*column).device()));
  out.totals = totals;
  return out;
}

Experience Experience::narrow(int64_t first, int64_t count) const {
  Experience out;
  out.context = context.narrow(first, count);
  out.extra = extra.narrow(first, count);
  for (const auto& [name, column] : experience_columns())
    if ((this->*column).defined()) out.*column = (this->*column).narrow(0, first, count);
  out.totals = totals;
  return out;
}

Experience Experience::concat(const std::vector<Experience>& parts) {
  Experience out;
  std::vector<Fields> contexts, extras;
  for (const auto& part : parts) {
    contexts.push_back(part.context), extras.push_back(part.extra);
    out.totals.rows += part.totals.rows, out.totals.tokens += part.totals.tokens;
    out.totals.chosen += part.totals.chosen, out.totals.given += part.totals.given;
  }
  out.context = Fields::concat(contexts);
  out.extra = Fields::concat(extras);
  for (const auto& [name, column] : experience_columns()) {
    std::vector<Tensor> pieces;
    for (const auto& part : parts) pieces.push_back(part.*column);
    out.*column = concat_rows(pieces);
  }
  return out;
}

void Experience::fill_totals() {
  totals.rows = static_cast<double>(rows());
  totals.tokens = mask.defined() ? mask.sum(at::kDouble).item<double>() : totals.rows;
  int64_t half = rows() / 2;
  Tensor others = extra.find(extra::given);
  totals.given = 0;
  if (mask.defined() && others.defined())
    totals.given = mask.logical_and(others.to(at::kBool).unsqueeze(1)).sum(at::kDouble).item<double>();
  totals.chosen = mask.defined() && half > 0 ? mask.narrow(0, 0, half).sum(at::kDouble).item<double>() : 0;
}

Tensor rows_of_blocks(const Tensor& rows, int64_t size, int64_t blocks) {
  return at::arange(blocks, rows.options()).mul(size).unsqueeze(1).add(rows.unsqueeze(0)).flatten();
}

Needs Needs::operator|(const Needs& other) const {
  Needs both = *this;
  if (both.data == Data::rollout) both.data = other.data;
  if (!both.pathwise) both.pathwise = other.pathwise;
  if (!both.q) both.q = other.q;
  both.group_size = std::max(both.group_size, other.group_size);
  both.reward |= other.reward;
  both.advantage |= other.advantage;
  both.ref_logp |= other.ref_logp;
  both.entropy |= other.entropy;
  both.value |= other.value;
  both.score |= other.score;
  both.mismatched |= other.mismatched;
  both.gold |= other.gold;
  both.greedy |= other.greedy, both.token_influence |= other.token_influence;
  if (!both.divergence) both.divergence = other.divergence;
  both.estimate |= other.estimate, both.ref_estimate |= other.ref_estimate;
  both.best_rows |= other.best_rows;
  if (both.credit.empty()) both.credit = other.credit;
  both.whole_batch |= other.whole_batch;
  return both;
}

}  // namespace rft
