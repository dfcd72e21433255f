#include "rft/reward/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "reward/per_row.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

constexpr uint32_t kMatchLimit = 1'000'000, kHeapLimitKiB = 16 * 1024;

std::string pcre_message(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct RegexReward::Compiled {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits{pcre2_match_context_create(nullptr), &pcre2_match_context_free};

  explicit Compiled(const Options& options) {
    int error = 0;
    size_t offset = 0;
    auto compile = [&](const std::string& pattern) {
      return pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    };
    code.reset(compile(options.pattern));  // by itself first: the offset must be the user's
    if (!code) bad_input("regex.pattern", pcre_message(error), " at character ", offset, " of '", options.pattern, "'");
    // All of the text, whatever alternatives the pattern has.
    if (options.match == "full") code.reset(compile("\\A(?:" + options.pattern + ")\\z"));
    if (!code) bad_input("regex.pattern", pcre_message(error), " in '", options.pattern, "'");
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
    pcre2_set_match_limit(limits.get(), kMatchLimit);
    pcre2_set_heap_limit(limits.get(), kHeapLimitKiB);
  }
};

void RegexReward::Options::visit(OptionVisitor& v) {
  v.option("pattern", pattern, "a Perl-compatible regular expression (PCRE2, UTF-8)", required());
  v.option("match", match, "search: anywhere in the completion; full: all of it", one_of({"search", "full"}));
  v.option("reward", reward, "where it matches");
  v.option("otherwise", otherwise, "where it does not");
}

RegexReward::RegexReward(Options options) : options_(std::move(options)), compiled_(std::make_shared<Compiled>(options_)) {}

Rewards RegexReward::score(const Experience& batch) {
  const auto& completions = batch.context.text(extra::completion);
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  return score_rows(batch, "regex", [&](int64_t row) {
    const std::string& text = completions.at(row);
    int found = pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(), compiled_->limits.get());
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) run_failed("regex", pcre_message(found));
    return found >= 0 ? options_.reward : options_.otherwise;
  });
}

}  // namespace rft
