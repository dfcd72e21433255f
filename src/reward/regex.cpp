#include "rft/reward/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "reward/per_row.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

constexpr uint32_t kMatchLimit = 1'000'000, kHeapLimitKiB = 16 * 1024;
constexpr size_t kStackAtFirst = 32 * 1024, kStackLimit = 16 * 1024 * 1024;

std::string pcre_message(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// What one thread needs to match.
class Matcher {
 public:
  explicit Matcher(const pcre2_code* code) : code_(code) {
    pcre2_set_match_limit(limits_.get(), kMatchLimit);
    pcre2_set_heap_limit(limits_.get(), kHeapLimitKiB);
    pcre2_jit_stack_assign(limits_.get(), nullptr, stack_.get());
  }
  /// Throws RunError where a limit is hit or `text` is not UTF-8.
  bool found(const std::string& text) {
    int rc =
        pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data_.get(), limits_.get());
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) run_failed("regex", pcre_message(rc));
    return rc >= 0;
  }

 private:
  const pcre2_code* code_;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data_{pcre2_match_data_create(1, nullptr),
                                                                            &pcre2_match_data_free};
  std::unique_ptr<pcre2_jit_stack, decltype(&pcre2_jit_stack_free)> stack_{
      pcre2_jit_stack_create(kStackAtFirst, kStackLimit, nullptr), &pcre2_jit_stack_free};
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits_{pcre2_match_context_create(nullptr),
                                                                                    &pcre2_match_context_free};
};

}  // namespace

struct RegexReward::Compiled {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};

  explicit Compiled(const Options& options) {
    int error = 0;
    size_t offset = 0;
    uint32_t flags = PCRE2_UTF | PCRE2_UCP;
    if (options.match == "full") flags |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    const auto& pattern = options.pattern;
    code.reset(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), flags, &error, &offset, nullptr));
    if (!code) bad_input("regex.pattern", pcre_message(error), " at character ", offset, " of '", pattern, "'");
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  }
};

void RegexReward::Options::visit(OptionVisitor& v) {
  v.option("pattern", pattern, "a Perl-compatible regular expression (PCRE2, UTF-8)", required());
  v.option("match", match, "search: anywhere in the completion; full: all of it", one_of({"search", "full"}));
  v.option("reward", reward, "where it matches");
  v.option("otherwise", otherwise, "where it does not");
}

RegexReward::RegexReward(Options options)
    : options_(std::move(options)), compiled_(std::make_shared<Compiled>(options_)) {}

Rewards RegexReward::score(const Experience& batch) {
  const auto& completions = batch.context.text(extra::completion);
  Matcher matcher(compiled_->code.get());
  return score_rows(batch, "regex", [&](int64_t row) {
    return matcher.found(completions.at(row)) ? options_.reward : options_.otherwise;
  });
}

}  // namespace rft
