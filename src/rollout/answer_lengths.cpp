#include "rft/rollout/answer_lengths.h"

#include <ATen/ATen.h>

#include <map>

#include "rft/core/extra.h"

namespace rft {

void AnswerLengths::note(const Experience& batch) {
  const Tensor rows = batch.extra.tensor(extra::row).contiguous(), lengths = batch.mask.sum(1).contiguous();
  struct Sum {
    double decisions = 0, answers = 0;
  };
  std::map<int64_t, Sum> sums;
  for (int64_t i = 0; i < rows.numel(); ++i) {
    Sum& sum = sums[rows.const_data_ptr<int64_t>()[i]];
    sum.decisions += static_cast<double>(lengths.const_data_ptr<int64_t>()[i]), ++sum.answers;
  }
  for (const auto& [row, sum] : sums) last_.at(static_cast<size_t>(row)) = sum.decisions / sum.answers;
}

std::vector<double> AnswerLengths::expected(const Tensor& rows) const {
  double sum = 0, known = 0;
  for (double length : last_)
    if (length >= 0) sum += length, ++known;
  std::vector<double> out;
  const Tensor index = rows.contiguous();
  for (int64_t i = 0; i < index.numel(); ++i) {
    const double last = last_.at(static_cast<size_t>(index.const_data_ptr<int64_t>()[i]));
    out.push_back(last >= 0 ? last : known > 0 ? sum / known : 0);
  }
  return out;
}

State AnswerLengths::state() const { return {{"last", at::tensor(last_, at::kDouble)}}; }

/// Of a run of one process, which keeps none, nothing is known.
void AnswerLengths::load_state(const State& state) {
  auto found = state.find("last");
  if (found == state.end()) return;
  const Tensor last = found->second.to(at::kDouble).contiguous();
  last_.assign(last.const_data_ptr<double>(), last.const_data_ptr<double>() + last.numel());
}

}  // namespace rft
