#include "rft/reward/regex.h"

#include "reward/per_row.h"
#include "rft/core/extra.h"

namespace rft {

void RegexReward::Options::visit(OptionVisitor& v) {
  v.option("pattern", pattern, "a Perl-compatible regular expression (PCRE2, UTF-8)", required());
  v.option("match", match, "search: anywhere in the completion; full: all of it", one_of({"search", "full"}));
  v.option("reward", reward, "where it matches");
  v.option("otherwise", otherwise, "where it does not");
}

RegexReward::RegexReward(Options options)
    : options_(std::move(options)), pattern_(options_.pattern, "regex.pattern", {.whole = options_.match == "full"}) {}

Rewards RegexReward::score(const Experience& batch) {
  const auto& completions = batch.context.text(extra::completion);
  return score_rows(batch, "regex", [&](int64_t row) {
    return pattern_.matches(completions.at(row)) ? options_.reward : options_.otherwise;
  });
}

}  // namespace rft
