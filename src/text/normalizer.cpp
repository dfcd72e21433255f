#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "text/charsmap.h"
#include "text/pattern.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace rft::text {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

template <class Table>
auto row_of(const Table& table, char32_t code) {
  auto after =
      std::upper_bound(table.begin(), table.end(), code, [](char32_t c, const auto& row) { return c < row.first; });
  return after != table.begin() && code <= std::prev(after)->last ? &*std::prev(after) : nullptr;
}

void append_form(std::string& out, std::string_view text, int options) {
  if (text.empty()) return;
  utf8proc_uint8_t* mapped = nullptr;
  auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &mapped, static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(mapped, std::free);
  if (size < 0) run_failed("tokenizer", "a text can't be normalised: ", utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
}

/// A normal form. Characters that the library does not know stay as they are, and nothing combines across them.
std::string normal_form(std::string text, int options) {
  if (is_ascii(text)) return text;
  std::string out;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    Decoded next = decode_at(text, i);
    if (next.size >= 2 && row_of(inert_codes(), next.code)) {
      append_form(out, std::string_view(text).substr(begin, i - begin), options);
      out.append(text, i, next.size);
      begin = i + next.size;
    }
    i += next.size;
  }
  append_form(out, std::string_view(text).substr(begin), options);
  return out;
}

}  // namespace

std::string decomposed(std::string text) { return normal_form(std::move(text), UTF8PROC_DECOMPOSE); }

std::string lower_case(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    Decoded next = decode_at(text, i);
    char32_t code = next.code;
    if (code == 0x130)
      out += "i\xCC\x87";  // the one letter whose lower case is two characters
    else if (const LowerRun* run = row_of(lower_runs(), code))
      append_code(out, static_cast<char32_t>(code + run->delta));
    else
      append_code(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
    i += next.size;
  }
  return out;
}

namespace {

std::string strip(const std::string& text, bool left, bool right) {
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    Decoded next = decode_at(text, begin);
    if (!is_space(next.code)) break;
    begin += next.size;
  }
  while (right && end > begin) {
    size_t last = end - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!is_space(decode_at(text, last).code)) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

Normalizer normalizers_in_turn(const Spec& spec) {
  std::vector<Normalizer> steps;
  for (const Spec& item : spec.items("normalizers")) steps.push_back(make_normalizer(item));
  return [steps](std::string text) {
    for (const auto& step : steps) text = step(std::move(text));
    return text;
  };
}

}  // namespace

Normalizer make_normalizer(const Spec& spec) {
  if (spec.null()) return [](std::string text) { return text; };
  static const std::map<std::string, int> forms{
      {"NFC", UTF8PROC_COMPOSE},
      {"NFD", UTF8PROC_DECOMPOSE},
      {"NFKC", UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
      {"NFKD", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
  };
  std::string type = spec.text("type");
  if (auto form = forms.find(type); form != forms.end())
    return [options = form->second](std::string text) { return normal_form(std::move(text), options); };
  if (type == "Sequence") return normalizers_in_turn(spec);
  if (type == "Lowercase") return [](std::string text) { return lower_case(text); };
  if (type == "Strip") {
    bool left = spec.flag("strip_left"), right = spec.flag("strip_right");
    return [left, right](std::string text) { return strip(text, left, right); };
  }
  if (type == "Prepend")
    return [prefix = spec.text("prepend")](std::string text) { return text.empty() ? text : prefix + text; };
  if (type == "Replace")
    return [pattern = read_pattern(spec.at("pattern")), content = spec.text("content")](std::string text) {
      return pattern.replaced(text, content);
    };
  if (type == "Precompiled")
    return [map = std::make_shared<const Charsmap>(spec)](std::string text) { return (*map)(text); };
  if (type == "BertNormalizer") return make_bert_normalizer(spec);
  spec.unknown_type({"NFC", "NFD", "NFKC", "NFKD", "Sequence", "Lowercase", "Strip", "Prepend", "Replace",
                     "Precompiled", "BertNormalizer"});
}

}  // namespace rft::text
