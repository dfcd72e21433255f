#include "rft/reward/exact_match.h"

#include "reward/per_row.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

std::string trimmed(const std::string& text) {
  constexpr char kSpace[] = " \t\r\n\f\v";
  size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

Rewards ExactMatch::score(const Experience& batch) {
  const auto &completions = batch.context.text(extra::completion), &answers = batch.context.text(options_.column);
  return score_rows(batch, "exact_match", [&](int64_t row) {
    return trimmed(completions.at(static_cast<size_t>(row))) == trimmed(answers.at(static_cast<size_t>(row))) ? 1.0
                                                                                                              : 0.0;
  });
}

}  // namespace rft
