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

Fit shorten_apart(CausalLm::TokenRow& row, int64_t limit, const std::string& too_long,
                  const std::function<bool(int64_t id)>& is_special) {
  const auto prompt = static_cast<int64_t>(row.prompt.size()), answer = static_cast<int64_t>(row.completion.size());
  if (prompt <= limit && answer <= limit) return Fit::whole;
  const bool start = too_long == "keep_start";
  if (!start && (too_long != "keep_end" || answer > limit)) return Fit::too_long;
  if (prompt > limit) {
    // A frame that leaves no room for a token of the text is given up.
    int64_t first = is_special(row.prompt.front()), last = is_special(row.prompt.back());
    if (first + last >= limit) first = last = 0;
    const int64_t keep = limit - first - last;
    const auto text = row.prompt.begin() + (start ? first : prompt - last - keep);
    std::vector<int64_t> cut(row.prompt.begin(), row.prompt.begin() + first);
    cut.insert(cut.end(), text, text + keep);
    cut.insert(cut.end(), row.prompt.end() - last, row.prompt.end());
    row.prompt = std::move(cut);
  }
  if (answer > limit) row.completion.resize(static_cast<size_t>(limit));
  return Fit::cut;
}

Rows rows_that_fit(const Rows& rows, const std::vector<std::string>& columns, int64_t limit,
                   const std::function<Fit(int64_t i, const std::string& column)>& fit) {
  int64_t cut = 0, left_out = 0;
  std::string first;
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < rows.size(); ++i) {
    Fit worst = Fit::whole;
    for (const std::string& column : columns) worst = std::max(worst, fit(i, column));
    if (worst != Fit::too_long) kept.push_back(i);
    if (worst == Fit::whole) continue;
    if (first.empty()) first = rows.where(i);
    ++(worst == Fit::cut ? cut : left_out);
  }
  if (!first.empty())
    rft::log::info(cat(rows.file(), ": ", cut + left_out, " of ", rows.size(), " rows have more than ", limit,
                       " tokens: ", cut, " are cut, ", left_out, " left out; the first is ", first));
  if (kept.empty()) bad_input(rows.file(), "all rows have more than ", limit, " tokens and are left out");
  return kept.size() == static_cast<size_t>(rows.size()) ? rows : rows.select(kept);
}

std::vector<std::string> answer_columns(const Needs& needs) {
  if (needs.data == Needs::Data::rollout || needs.pathwise) return {""};
  if (needs.data == Needs::Data::pairs && needs.gold) return {"chosen", "rejected", "completion"};
  if (needs.data == Needs::Data::pairs) return {"chosen", "rejected"};
  if (needs.data == Needs::Data::steps) return {"completions"};
  return {"completion"};
}

}  // namespace rft
