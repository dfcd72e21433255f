#include "nn/low_rank.h"
#include "rft/core/error.h"

namespace rft {

// Steps of one match are few: adapter files come from others.
PathPattern::PathPattern(const std::string& pattern, const std::string& where)
    : where_(where), pattern_(pattern, where, {.whole = true, .unicode = false, .steps = 100'000}) {}

bool PathPattern::matches(const std::string& path) const {
  try {
    return pattern_.matches(path);
  } catch (const RunError& error) {
    bad_input(where_, "'", pattern_.text(), "' can't be matched with '", path, "': ", error.what());
  }
}

}  // namespace rft
