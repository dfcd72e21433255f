#include <utf8proc.h>

#include <algorithm>
#include <map>

#include "rft/core/error.h"
#include "text/jinja_builtins.h"
#include "text/utf8.h"

namespace rft::jinja {
namespace {

using ValueKind = Value::Kind;
using Method = Value (*)(const Value& self, const Arguments& a);

/// str.isspace() of one character.
bool is_space(const std::string& c) {
  char32_t code = text::decode_at(c, 0).code;
  return text::is_space(code) || (code >= 0x1c && code <= 0x1f);
}

std::string text_argument(const Arguments& a, size_t place, const char* name, const char* fallback = nullptr) {
  const Value* given = a.find(place, name);
  if ((!given || given->is(ValueKind::none)) && fallback) return fallback;
  if (!given || !given->is_string())
    bad_input(kTemplate, "a method of a string needs a string for its argument ", name);
  return given->text;
}

Value strip(const Value& self, const Arguments& a, bool left, bool right) {
  auto all = characters(self.text);
  const Value* given = a.find(0, "chars");
  bool chosen = given && given->is_string();
  std::vector<std::string> set = chosen ? characters(given->text) : std::vector<std::string>();
  auto goes = [&](const std::string& c) {
    return chosen ? std::find(set.begin(), set.end(), c) != set.end() : is_space(c);
  };
  size_t begin = 0, end = all.size();
  while (left && begin < end && goes(all[begin])) ++begin;
  while (right && end > begin && goes(all[end - 1])) --end;
  std::string out;
  for (size_t i = begin; i < end; ++i) out += all[i];
  return Value::of(out);
}

std::string mapped(const std::string& text, utf8proc_int32_t (*change)(utf8proc_int32_t)) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    auto one = text::decode_at(text, at);
    if (change == utf8proc_toupper && one.code == 0xdf)
      out += "SS";
    else
      text::append_code(out, static_cast<char32_t>(change(static_cast<utf8proc_int32_t>(one.code))));
    at += static_cast<size_t>(one.size);
  }
  return out;
}

bool is_letter(const std::string& c) {
  auto category = utf8proc_category(static_cast<utf8proc_int32_t>(text::decode_at(c, 0).code));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

/// Words begin with a capital; `only_first`: the text's first character alone.
std::string titled(const std::string& text, bool only_first) {
  std::string out;
  bool begins = true;
  for (const auto& c : characters(text)) {
    out += mapped(c, begins ? utf8proc_toupper : utf8proc_tolower);
    begins = only_first ? false : !is_letter(c);
  }
  return out;
}

Value split(const Value& self, const Arguments& a, bool from_right) {
  const Value* given = a.find(0, "sep");
  const Value* most = a.find(1, "maxsplit");
  int64_t left = most ? most->as_integer() : -1;
  List out;
  if (!given || given->is(ValueKind::none)) {  // runs of white space, and none at the ends
    auto all = characters(self.text);
    if (from_right) std::reverse(all.begin(), all.end());
    std::vector<std::vector<std::string>> words;
    bool inside = false;
    for (size_t i = 0; i < all.size(); ++i) {
      if (is_space(all[i]) && !(inside && left == 0 && !words.empty())) {
        inside = false;
        continue;
      }
      if (!inside) {
        if (left == 0) {  // the rest is one word
          size_t end = all.size();
          while (end > i && is_space(all[end - 1])) --end;
          words.emplace_back(all.begin() + static_cast<int64_t>(i), all.begin() + static_cast<int64_t>(end));
          break;
        }
        words.emplace_back(), inside = true, left -= left > 0;
      }
      words.back().push_back(all[i]);
    }
    for (auto& word : words) {
      if (from_right) std::reverse(word.begin(), word.end());
      std::string joined;
      for (const auto& c : word) joined += c;
      out.push_back(Value::of(joined));
    }
    if (from_right) std::reverse(out.begin(), out.end());
    return Value::of(std::move(out));
  }
  std::string separator = text_argument(a, 0, "sep");
  if (separator.empty()) bad_input(kTemplate, "split: the separator is empty");
  std::string rest = self.text;
  while (left != 0) {
    size_t at = from_right ? rest.rfind(separator) : rest.find(separator);
    if (at == std::string::npos) break;
    out.push_back(Value::of(from_right ? rest.substr(at + separator.size()) : rest.substr(0, at)));
    rest = from_right ? rest.substr(0, at) : rest.substr(at + separator.size());
    left -= left > 0;
  }
  out.push_back(Value::of(rest));
  if (from_right) std::reverse(out.begin(), out.end());
  return Value::of(std::move(out));
}

Value replace(const Value& self, const Arguments& a) {
  std::string from = text_argument(a, 0, "old"), to = text_argument(a, 1, "new"), out;
  const Value* most = a.find(2, "count");
  int64_t left = most && !most->is(ValueKind::none) ? most->as_integer() : -1;
  if (from.empty()) {  // between all characters
    for (const auto& c : characters(self.text)) out += (left != 0 ? (left -= left > 0, to) : "") + c;
    return Value::of(left != 0 ? out + to : out);
  }
  size_t begin = 0;
  for (size_t at; left != 0 && (at = self.text.find(from, begin)) != std::string::npos; begin = at + from.size())
    out += self.text.substr(begin, at - begin) + to, left -= left > 0;
  return Value::of(out + self.text.substr(begin));
}

bool has_end(const Value& self, const Arguments& a, bool at_start) {
  const Value* given = a.find(0, "prefix");
  if (!given) bad_input(kTemplate, "startswith and endswith need a string");
  List all = given->is_sequence() ? *given->items : List{*given};
  return std::any_of(all.begin(), all.end(), [&](const Value& x) {
    return x.is_string() && (at_start ? self.text.starts_with(x.text) : self.text.ends_with(x.text));
  });
}

Value found(const Value& self, const Arguments& a, bool last, bool must) {
  std::string part = text_argument(a, 0, "sub");
  size_t at = last ? self.text.rfind(part) : self.text.find(part);
  if (at == std::string::npos && must) bad_input(kTemplate, "index: the text has no ", repr_of(Value::of(part)));
  return Value::of(at == std::string::npos ? int64_t{-1}
                                           : static_cast<int64_t>(characters(self.text.substr(0, at)).size()));
}

Value count(const Value& self, const Arguments& a) {
  if (!self.is_string()) {
    const Value* wanted = a.find(0, "value");
    int64_t out = 0;
    for (const auto& item : elements_of(self)) out += wanted && equal(item, *wanted);
    return Value::of(out);
  }
  std::string part = text_argument(a, 0, "sub");
  if (part.empty()) return Value::of(length_of(self) + 1);
  int64_t out = 0;
  for (size_t at = 0; (at = self.text.find(part, at)) != std::string::npos; at += part.size()) ++out;
  return Value::of(out);
}

Value join(const Value& self, const Arguments& a) {
  const Value* given = a.find(0, "iterable");
  std::string out;
  bool first = true;
  for (const auto& item : given ? elements_of(*given) : List{}) {
    if (!item.is_string()) bad_input(kTemplate, "join: a ", kind_name(item), " is not a string");
    out += (first ? "" : self.text) + item.text, first = false;
  }
  return Value::of(out);
}

Value lines(const Value& self, const Arguments& a) {
  const Value* keep = a.find(0, "keepends");
  List out;
  std::string line;
  for (size_t i = 0; i < self.text.size(); ++i) {
    char c = self.text[i];
    if (c != '\n' && c != '\r') {
      line += c;
      continue;
    }
    std::string end(1, c);
    if (c == '\r' && i + 1 < self.text.size() && self.text[i + 1] == '\n') end += '\n', ++i;
    out.push_back(Value::of(keep && keep->truth() ? line + end : line));
    line.clear();
  }
  if (!line.empty()) out.push_back(Value::of(line));
  return Value::of(std::move(out));
}

bool all_characters(const Value& self, bool (*is)(const std::string&)) {
  auto all = characters(self.text);
  return !all.empty() && std::all_of(all.begin(), all.end(), is);
}

const std::map<std::string, Method>& string_methods() {
  static const std::map<std::string, Method> all = {
      {"strip", [](const Value& s, const Arguments& a) { return strip(s, a, true, true); }},
      {"lstrip", [](const Value& s, const Arguments& a) { return strip(s, a, true, false); }},
      {"rstrip", [](const Value& s, const Arguments& a) { return strip(s, a, false, true); }},
      {"split", [](const Value& s, const Arguments& a) { return split(s, a, false); }},
      {"rsplit", [](const Value& s, const Arguments& a) { return split(s, a, true); }},
      {"splitlines", lines},
      {"replace", replace},
      {"join", join},
      {"count", count},
      {"find", [](const Value& s, const Arguments& a) { return found(s, a, false, false); }},
      {"rfind", [](const Value& s, const Arguments& a) { return found(s, a, true, false); }},
      {"index", [](const Value& s, const Arguments& a) { return found(s, a, false, true); }},
      {"startswith", [](const Value& s, const Arguments& a) { return Value::of(has_end(s, a, true)); }},
      {"endswith", [](const Value& s, const Arguments& a) { return Value::of(has_end(s, a, false)); }},
      {"upper", [](const Value& s, const Arguments&) { return Value::of(mapped(s.text, utf8proc_toupper)); }},
      {"lower", [](const Value& s, const Arguments&) { return Value::of(mapped(s.text, utf8proc_tolower)); }},
      {"title", [](const Value& s, const Arguments&) { return Value::of(titled(s.text, false)); }},
      {"capitalize", [](const Value& s, const Arguments&) { return Value::of(titled(s.text, true)); }},
      {"isspace", [](const Value& s, const Arguments&) { return Value::of(all_characters(s, is_space)); }},
      {"isalpha", [](const Value& s, const Arguments&) { return Value::of(all_characters(s, is_letter)); }},
      {"isdigit",
       [](const Value& s, const Arguments&) {
         return Value::of(
             all_characters(s, [](const std::string& c) { return c.size() == 1 && c[0] >= '0' && c[0] <= '9'; }));
       }},
      {"removeprefix",
       [](const Value& s, const Arguments& a) {
         std::string part = text_argument(a, 0, "prefix");
         return Value::of(s.text.starts_with(part) ? s.text.substr(part.size()) : s.text);
       }},
      {"removesuffix",
       [](const Value& s, const Arguments& a) {
         std::string part = text_argument(a, 0, "suffix");
         return Value::of(s.text.ends_with(part) ? s.text.substr(0, s.text.size() - part.size()) : s.text);
       }},
  };
  return all;
}

Value pairs(const Value& self, const Arguments&) {
  List out;
  for (const auto& [key, value] : *self.entries)
    out.push_back(Value::of(List{Value::of(key), value}, ValueKind::tuple));
  return Value::of(std::move(out));
}

const std::map<std::string, Method>& map_methods() {
  static const std::map<std::string, Method> all = {
      {"items", pairs},
      {"keys", [](const Value& s, const Arguments&) { return Value::of(elements_of(s)); }},
      {"values",
       [](const Value& s, const Arguments&) {
         List out;
         for (const auto& [key, value] : *s.entries) out.push_back(value);
         return Value::of(std::move(out));
       }},
      {"get",
       [](const Value& s, const Arguments& a) {
         const Value *key = a.find(0, "key"), *fallback = a.find(1, "default");
         const Value* value = key && key->is_string() ? s.find(key->text) : nullptr;
         return value ? *value : fallback ? *fallback : Value::none();
       }},
      {"copy", [](const Value& s, const Arguments&) { return Value::of(*s.entries); }},
  };
  return all;
}

const std::map<std::string, Method>& list_methods() {
  static const std::map<std::string, Method> all = {
      {"count", count},
      {"index",
       [](const Value& s, const Arguments& a) {
         const Value* wanted = a.find(0, "value");
         for (size_t i = 0; wanted && i < s.items->size(); ++i)
           if (equal((*s.items)[i], *wanted)) return Value::of(static_cast<int64_t>(i));
         bad_input(kTemplate, "index: the list has no such element");
       }},
  };
  return all;
}

}  // namespace

Value method_of(const Value& of, const std::string& name) {
  const auto& all = of.is_string() ? string_methods() : of.is(ValueKind::map) ? map_methods() : list_methods();
  if (!of.is_string() && !of.is(ValueKind::map) && !of.is_sequence()) return Value::undefined(name);
  auto found = all.find(name);
  if (found == all.end()) {
    for (const char* changes :
         {"append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "sort", "reverse"})
      if (name == changes && !of.is_string() && !(of.is(ValueKind::map) && of.find(name)))
        return Value::function(name, [name](const Arguments&) -> Value {
          bad_input(kTemplate, "'", name, "' would change a value, which templates may not");
        });
    return Value::undefined(name);
  }
  return Value::function(name, [of, method = found->second](const Arguments& a) { return method(of, a); });
}

}  // namespace rft::jinja
