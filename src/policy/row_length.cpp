#include "policy/row_length.h"

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/core/text.h"

namespace rft {

Fit shorten(CausalLm::TokenRow& row, int64_t limit, const std::string& too_long) {
  const auto prompt = static_cast<int64_t>(row.prompt.size()), completion = static_cast<int64_t>(row.completion.size());
  if (prompt + completion <= limit) return Fit::whole;
  const bool start = too_long == "keep_start";
  if (!start && too_long != "keep_end") return Fit::too_long;
  // What is cut is the completion's end or the prompt's beginning; without a completion the prompt's.
  std::vector<int64_t>& part = start && completion ? row.completion : row.prompt;
  const int64_t keep = limit - (prompt + completion - static_cast<int64_t>(part.size()));
  if (keep < 1) return Fit::too_long;
  if (start && !row.learned.empty() &&
      std::find(row.learned.begin(), row.learned.begin() + keep, true) == row.learned.begin() + keep)
    return Fit::too_long;
  if (start) {
    part.resize(static_cast<size_t>(keep));
    if (!row.learned.empty()) row.learned.resize(static_cast<size_t>(keep));
  } else {
    part.erase(part.begin(), part.end() - keep);
  }
  return Fit::cut;
}

void LengthReport::add(Fit fit, const Rows& rows, int64_t i) {
  if (fit == Fit::whole) return;
  if (first_.empty()) first_ = rows.where(i);
  ++(fit == Fit::cut ? cut_ : left_out_);
}

void LengthReport::log(const Rows& rows, int64_t limit) const {
  if (first_.empty()) return;
  rft::log::info(cat(rows.file(), ": ", cut_ + left_out_, " of ", rows.size(), " rows have more than ", limit,
                     " tokens: ", cut_, " are cut, ", left_out_, " left out; the first is ", first_));
}

}  // namespace rft
