#include "rft/core/pattern.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "core/pcre2_memory.h"
#include "rft/core/error.h"

namespace rft {
namespace {

using CompiledPattern = std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>;

CompiledPattern compiled(const std::string& pattern, const std::string& shown, const std::string& where,
                         uint32_t options, uint32_t jit) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  CompiledPattern code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &offset, nullptr),
      &pcre2_code_free);
  if (!code)
    bad_input(where, "'", shown, "' is no regular expression: ", pcre2_message(error), " at character ",
              std::min(offset, shown.size()));
  pcre2_jit_compile(code.get(), jit);  // where it can't, pcre2_match interprets
  return code;
}

/// Bytes of the UTF-8 character that begins with `first`.
size_t bytes_of(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

Pcre2Memory& match_memory() {
  static thread_local Pcre2Memory memory(16 << 20, 16 << 10);
  return memory;
}

/// pcre2_match's answer, from byte `first` on: at least 0, no match or a partial one.
int matched(const pcre2_code* code, std::string_view text, uint32_t options, uint32_t steps, size_t first = 0) {
  Pcre2Memory& memory = match_memory();
  pcre2_set_match_limit(memory.context, steps);
  int rc = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), first, options, memory.data,
                       memory.context);
  if (rc < 0 && rc != PCRE2_ERROR_NOMATCH && rc != PCRE2_ERROR_PARTIAL) run_failed("regex", pcre2_message(rc));
  return rc;
}

}  // namespace

std::string literal_pattern(const std::string& text) {
  std::string out;
  for (char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80;
    if (!plain) out += '\\';
    out += c;
  }
  return out;
}

struct Pattern::Code {
  std::string text;
  uint32_t steps;
  CompiledPattern compiled;
};

Pattern::Pattern(const std::string& pattern, const std::string& where, Options options) {
  uint32_t flags = options.unicode ? PCRE2_UTF | PCRE2_UCP : 0;
  if (options.whole) flags |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
  code_ = std::make_shared<Code>(
      Code{pattern, options.steps, compiled(pattern, pattern, where, flags, PCRE2_JIT_COMPLETE)});
}

const std::string& Pattern::text() const { return code_->text; }

bool Pattern::matches(std::string_view text) const {
  return matched(code_->compiled.get(), text, 0, code_->steps) >= 0;
}

uint32_t Pattern::groups() const {
  uint32_t count = 0;
  pcre2_pattern_info(code_->compiled.get(), PCRE2_INFO_CAPTURECOUNT, &count);
  return count;
}

std::optional<std::string> Pattern::last_group(std::string_view text) const {
  std::optional<std::string> out;
  for (size_t at = 0; at <= text.size();) {
    if (matched(code_->compiled.get(), text, 0, code_->steps, at) < 0) break;
    const PCRE2_SIZE* place = pcre2_get_ovector_pointer(match_memory().data);
    out.reset();
    if (groups() > 0 && place[2] != PCRE2_UNSET) out = std::string(text.substr(place[2], place[3] - place[2]));
    const size_t end = place[1];
    const bool moves = end > at && end > place[0];  // after an empty match the next is looked for a character on
    at = moves ? end : at + (at < text.size() ? bytes_of(text[at]) : 1);
  }
  return out;
}

struct GrowingPattern::Code {
  CompiledPattern whole, beyond;
  std::set<std::string> characters;  ///< of the pattern, those of several bytes
};

namespace {

std::set<std::string> wide_characters(const std::string& text) {
  std::set<std::string> out;
  for (size_t i = 0; i < text.size(); i += bytes_of(text[i]))
    if (bytes_of(text[i]) > 1) out.insert(text.substr(i, bytes_of(text[i])));
  return out;
}

}  // namespace

/// `beyond` never matches: having matched, it looks for other ways, and what it looks for past the text's end shows
/// that the text may grow. Without optimisations, which would see that it can't match.
GrowingPattern::GrowingPattern(const std::string& pattern, const std::string& where) {
  constexpr uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED;
  code_ = std::make_shared<Code>(
      Code{compiled(pattern, pattern, where, flags | PCRE2_ENDANCHORED, PCRE2_JIT_COMPLETE),
           compiled("(?:" + pattern + ")(*FAIL)", pattern, where,
                    flags | PCRE2_NO_START_OPTIMIZE | PCRE2_NO_AUTO_POSSESS, PCRE2_JIT_PARTIAL_HARD),
           wide_characters(pattern)});
}

GrowingPattern::State GrowingPattern::of(std::string_view text) const {
  constexpr uint32_t steps = 1'000'000;
  return {matched(code_->whole.get(), text, 0, steps) >= 0,
          text.empty() ||  // of which PCRE2 says nothing
              matched(code_->beyond.get(), text, PCRE2_PARTIAL_HARD, steps) == PCRE2_ERROR_PARTIAL};
}

bool GrowingPattern::goes_on(const std::string& text, const std::string& begun) const {
  auto fits = [&](const std::string& character) {
    try {
      const State state = of(text + character);
      return state.complete || state.open;
    } catch (const RunError&) {  // these bytes are no character
      return false;
    }
  };
  for (const std::string& character : code_->characters)
    if (character.starts_with(begun) && fits(character)) return true;
  const size_t missing = bytes_of(begun[0]) - begun.size();
  for (int next = 0x80; next < 0xC0; ++next)
    for (const char* last : {"\x80\x80", "\xBF\xBF"})
      if (fits(begun + static_cast<char>(next) + std::string(last, missing - 1))) return true;
  return false;
}

}  // namespace rft
