#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "nn/low_rank.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Steps of one match: adapter files come from others.
constexpr uint32_t kMatchLimit = 100000;

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct PathPattern::Code {
  std::string pattern, where;
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> compiled{nullptr, &pcre2_code_free};
};

PathPattern::PathPattern(const std::string& pattern, const std::string& where) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_shared<Code>();
  code->pattern = pattern, code->where = where;
  code->compiled.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     PCRE2_ANCHORED | PCRE2_ENDANCHORED, &error, &offset, nullptr));
  if (!code->compiled)
    bad_input(where, "'", pattern, "' is no regular expression: ", message_of(error), " at character ", offset);
  code_ = std::move(code);
}

bool PathPattern::matches(const std::string& path) const {
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr),
                                                                           &pcre2_match_data_free);
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits(pcre2_match_context_create(nullptr),
                                                                                   &pcre2_match_context_free);
  pcre2_set_match_limit(limits.get(), kMatchLimit);
  int rc = pcre2_match(code_->compiled.get(), reinterpret_cast<PCRE2_SPTR>(path.data()), path.size(), 0, 0, data.get(),
                       limits.get());
  if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
    bad_input(code_->where, "'", code_->pattern, "' can't be matched with '", path, "': ", message_of(rc));
  return rc >= 0;
}

}  // namespace rft
