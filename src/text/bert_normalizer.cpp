/// BERT's normaliser: control characters out, spaces around Chinese characters, accents stripped, lower case.
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/normalizer.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace rft::text {
namespace {

template <class Table>
bool holds(const Table& ranges, char32_t code) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const CodeRange& range) { return code >= range.first && code <= range.last; });
}

/// Format characters that the library's older Unicode does not know.
constexpr std::array<CodeRange, 4> kYoungFormats = {
    {{0x890, 0x891}, {0x8E2, 0x8E2}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}}};
/// What the library calls Chinese (CJK ideographs; the gap at 2B820 is its own).
constexpr std::array<CodeRange, 7> kChinese = {{{0x3400, 0x4DBF},
                                                {0x4E00, 0x9FFF},
                                                {0xF900, 0xFAFF},
                                                {0x20000, 0x2A6DF},
                                                {0x2A700, 0x2B81F},
                                                {0x2B920, 0x2CEAF},
                                                {0x2F800, 0x2FA1F}}};

bool is_dropped(char32_t code) {
  if (code == 0 || code == 0xFFFD) return true;
  if (code == '\t' || code == '\n' || code == '\r') return false;
  auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  bool other = category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
  return other && !holds(kYoungFormats, code);
}

template <class Each>
std::string each_character(const std::string& text, const Each& each) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    Decoded next = decode_at(text, i);
    each(next.code, std::string_view(text).substr(i, static_cast<size_t>(next.size)), out);
    i += static_cast<size_t>(next.size);
  }
  return out;
}

std::string clean(const std::string& text) {
  return each_character(text, [](char32_t code, std::string_view bytes, std::string& out) {
    if (!is_dropped(code)) out += is_space(code) ? std::string_view(" ") : bytes;
  });
}

std::string spaced_chinese(const std::string& text) {
  return each_character(text, [](char32_t code, std::string_view bytes, std::string& out) {
    bool chinese = code >= 0x3400 && holds(kChinese, code);
    if (chinese) out += ' ';
    out += bytes;
    if (chinese) out += ' ';
  });
}

std::string without_marks(const std::string& text) {
  auto marks = nonspacing_marks();
  return each_character(text, [&](char32_t code, std::string_view bytes, std::string& out) {
    auto after = std::upper_bound(marks.begin(), marks.end(), code,
                                  [](char32_t c, const CodeRange& range) { return c < range.first; });
    if (after == marks.begin() || code > std::prev(after)->last) out += bytes;
  });
}

}  // namespace

Normalizer make_bert_normalizer(const Spec& spec) {
  bool cleans = spec.flag("clean_text", true), chinese = spec.flag("handle_chinese_chars", true);
  bool lower = spec.flag("lowercase", true), strips = spec.flag("strip_accents", lower);
  return [=](std::string text) {
    if (cleans) text = clean(text);
    if (chinese) text = spaced_chinese(text);
    if (strips) text = without_marks(decomposed(std::move(text)));
    return lower ? lower_case(text) : text;
  };
}

}  // namespace rft::text
