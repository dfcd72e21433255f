#pragma once
/// What becomes of dataset rows that have more tokens than are wanted.
#include <cstdint>
#include <string>

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

/// Counts what became of rows, and says it once.
class LengthReport {
 public:
  void add(Fit fit, const Rows& rows, int64_t i);
  /// "rows.jsonl: 12 of 100 rows have more than 512 tokens: 10 are cut, 2 left out; the first is rows.jsonl:7"; nothing
  /// where none was longer.
  void log(const Rows& rows, int64_t limit) const;

 private:
  int64_t cut_ = 0, left_out_ = 0;
  std::string first_;
};

}  // namespace rft
