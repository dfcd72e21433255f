#include "text/regex.h"

#include <algorithm>
#include <cctype>

#include "core/pcre2_memory.h"
#include "rft/core/error.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace rft::text {
namespace {

constexpr size_t kMaxPattern = 1 << 16;

Pcre2Memory& scratch() {
  static thread_local Pcre2Memory instance(4 << 20, 256 << 10);
  return instance;
}

const Proxy* proxy_of(char32_t code) {
  auto table = proxies();
  auto after =
      std::upper_bound(table.begin(), table.end(), code, [](char32_t c, const Proxy& p) { return c < p.first; });
  if (after == table.begin()) return nullptr;
  return code <= std::prev(after)->last ? &*std::prev(after) : nullptr;
}

/// `subject` as PCRE2 is to see it: characters newer than its Unicode are replaced by older ones of the same category
/// and length, so that the offsets stay true. `copy` holds the text where there are any.
std::string_view with_proxies(std::string_view subject, std::string& copy) {
  bool copied = false;
  for (size_t i = 0; i < subject.size();) {
    auto lead = static_cast<unsigned char>(subject[i]);
    int size = size_of_lead(lead);
    if (size >= 3) {
      if (const Proxy* proxy = proxy_of(decode_at(subject, i).code)) {
        if (!copied) copy = subject, copied = true;
        std::string bytes;
        append_code(bytes, proxy->proxy);
        copy.replace(i, bytes.size(), bytes);
      }
    }
    i += size;
  }
  return copied ? std::string_view(copy) : subject;
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  bool uses_categories = false;
  std::string pattern, where;

  ~Code() { pcre2_code_free(code); }

  void compile(const std::string& text, uint32_t options) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                         PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | options, &error, &offset, nullptr);
    if (!code) bad_input(where, "the pattern '", pattern, "' does not compile: ", pcre2_message(error));
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it can't, pcre2_match interprets
  }

  /// False where there is no match at or after `from`.
  bool find(std::string_view subject, size_t from, uint32_t options, size_t& begin, size_t& end) const {
    Pcre2Memory& s = scratch();
    auto text = reinterpret_cast<PCRE2_SPTR>(subject.data());
    options |= PCRE2_NO_UTF_CHECK;
    int rc = pcre2_match(code, text, subject.size(), from, options, s.data, s.context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
      rc = pcre2_match(code, text, subject.size(), from, options | PCRE2_NO_JIT, s.data, s.context);
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    if (rc < 0) bad_input(where, "the pattern '", pattern, "' can't be matched: ", pcre2_message(rc));
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(s.data);
    begin = offsets[0], end = offsets[1];
    return true;
  }
};

Regex::Regex(const std::string& pattern, const std::string& where) {
  auto code = std::make_shared<Code>();
  code->pattern = pattern.substr(0, 200), code->where = where;
  if (pattern.size() > kMaxPattern)
    bad_input(where, "a pattern may have at most ", kMaxPattern, " bytes; got ", pattern.size());
  if (!is_valid(pattern)) bad_input(where, "a pattern must be valid UTF-8");
  std::string translated = translate_pattern(pattern, where, code->uses_categories);
  code->compile(translated, PCRE2_MULTILINE);  // in Ruby's syntax ^ and $ match at every line
  code_ = std::move(code);
}

Regex Regex::exact(const std::string& text, const std::string& where) {
  std::string escaped;
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c)))
      escaped += cat("\\x{", std::hex, int{c}, "}");
    else
      escaped += c;
  }
  return Regex(escaped.empty() ? "(?!)" : escaped, where);
}

void Regex::each_match(std::string_view subject, const std::function<void(size_t, size_t)>& found) const {
  std::string copy;
  std::string_view seen = code_->uses_categories ? with_proxies(subject, copy) : subject;
  size_t from = 0, begin = 0, end = 0, last_end = std::string::npos;
  while (from <= seen.size() && code_->find(seen, from, 0, begin, end)) {
    bool empty = begin == end;
    if (!empty || begin != last_end) found(begin, end), last_end = end;
    from = end;
    if (empty) from += from < seen.size() ? size_of_lead(static_cast<unsigned char>(seen[from])) : 1;
  }
}

std::string Regex::replaced(const std::string& subject, const std::string& content) const {
  std::string out;
  size_t done = 0;
  each_match(subject, [&](size_t begin, size_t end) {
    out.append(subject, done, begin - done).append(content);
    done = end;
  });
  return out.append(subject, done);
}

bool Regex::matches_at_start(std::string_view subject) const {
  std::string copy;
  size_t begin, end;
  return code_->find(code_->uses_categories ? with_proxies(subject, copy) : subject, 0, PCRE2_ANCHORED, begin, end);
}

}  // namespace rft::text
