#pragma once
/// What becomes of dataset rows that have more tokens than are wanted.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rft/io/rows.h"
#include "rft/policy/causal_lm.h"

namespace rft {

enum class Fit {
  whole,     ///< it is as short as asked
  cut,       ///< it was made so
  too_long,  ///< it can't be, or must not
};

/// Makes `row` at most `limit` tokens by `too_long`: "keep_start" cuts its end, "keep_end" its beginning. A prompt
/// keeps a token at least, and a completion, where there is one, a token that is learned. Otherwise the row is as it
/// was.
Fit shorten(CausalLm::TokenRow& row, int64_t limit, const std::string& too_long);

/// The same where prompt and answer are read apart, `limit` tokens each: "keep_start" cuts the end of either,
/// "keep_end" a prompt's beginning; an answer keeps its beginning or the row is too long. A prompt's first and last
/// token stay where `is_special` says that they frame it.
Fit shorten_apart(CausalLm::TokenRow& row, int64_t limit, const std::string& too_long,
                  const std::function<bool(int64_t id)>& is_special);

/// Of `rows` those that fit, in their order. `fit(i, column)` says what became of row i's answer in that column; a row
/// is left out where one of them is too long. How many were cut or left out is said once in the log:
/// "rows.jsonl: 12 of 100 rows have more than 512 tokens: 10 are cut, 2 left out; the first is rows.jsonl:7". Throws
/// UserError where no row is left.
Rows rows_that_fit(const Rows& rows, const std::vector<std::string>& columns, int64_t limit,
                   const std::function<Fit(int64_t i, const std::string& column)>& fit);

/// Of the rows that `needs` asks for, the columns that hold answers; "" stands for the prompt alone.
std::vector<std::string> answer_columns(const Needs& needs);

}  // namespace rft
