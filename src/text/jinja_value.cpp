#include "text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "rft/core/error.h"
#include "text/utf8.h"

namespace rft::jinja {
namespace {

using ValueKind = Value::Kind;

/// Python's repr of a float: the shortest digits that read back, with an exponent beyond 1e16 and below 1e-4.
std::string number_text(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  char buffer[64];
  double size = std::abs(x);
  bool exponent = size != 0 && (size >= 1e16 || size < 1e-4);
  auto format = exponent ? std::chars_format::scientific : std::chars_format::fixed;
  auto end = std::to_chars(buffer, buffer + sizeof buffer, x, format).ptr;
  std::string out(buffer, end);
  if (!exponent && out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string quoted(const std::string& text) {
  char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\')
      out += '\\', out += c;
    else if (c == '\n' || c == '\r' || c == '\t')
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    else if (byte < 0x20 || byte == 0x7f) {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", byte);
      out += code;
    } else {
      out += c;
    }
  }
  return out + quote;
}

template <class Items, class Each>
std::string joined(const Items& items, const Each& each) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) out += (i ? ", " : "") + each(items[i]);
  return out;
}

}  // namespace

Value Value::named(ValueKind kind, std::string text) {
  Value out;
  out.kind = kind, out.text = std::move(text);
  return out;
}
Value Value::of(bool x) {
  Value out;
  out.kind = ValueKind::boolean, out.flag = x;
  return out;
}
Value Value::of(int64_t x) {
  Value out;
  out.kind = ValueKind::integer, out.integer = x;
  return out;
}
Value Value::of(double x) {
  Value out;
  out.kind = ValueKind::number, out.number = x;
  return out;
}
Value Value::of(List x, ValueKind kind) {
  Value out;
  out.kind = kind, out.items = std::make_shared<List>(std::move(x));
  return out;
}
Value Value::of(Map x, ValueKind kind) {
  Value out;
  out.kind = kind, out.entries = std::make_shared<Map>(std::move(x));
  return out;
}
Value Value::function(std::string name, Function body) {
  Value out = named(ValueKind::function, std::move(name));
  out.call = std::make_shared<Function>(std::move(body));
  return out;
}

Value Value::from_json(const nlohmann::ordered_json& json) {
  if (json.is_null()) return none();
  if (json.is_boolean()) return of(json.get<bool>());
  if (json.is_number_integer()) return of(json.get<int64_t>());
  if (json.is_number()) return of(json.get<double>());
  if (json.is_string()) return of(json.get<std::string>());
  if (json.is_array()) {
    List items;
    for (const auto& item : json) items.push_back(from_json(item));
    return of(std::move(items));
  }
  Map entries;
  for (const auto& [key, item] : json.items()) entries.emplace_back(key, from_json(item));
  return of(std::move(entries));
}

bool Value::truth() const {
  switch (kind) {
    case ValueKind::undefined:
    case ValueKind::none:
      return false;
    case ValueKind::boolean:
      return flag;
    case ValueKind::integer:
      return integer != 0;
    case ValueKind::number:
      return number != 0;
    case ValueKind::string:
      return !text.empty();
    case ValueKind::list:
    case ValueKind::tuple:
      return !items->empty();
    case ValueKind::map:
      return !entries->empty();
    default:
      return true;
  }
}

double Value::as_double() const { return kind == ValueKind::number ? number : static_cast<double>(as_integer()); }

const Value* Value::find(std::string_view key) const {
  if (!is_map()) return nullptr;
  for (const auto& [name, value] : *entries)
    if (name == key) return &value;
  return nullptr;
}

const Value* Arguments::find(size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  for (const auto& [given, value] : named)
    if (given == name) return &value;
  return nullptr;
}

const char* kind_name(const Value& x) {
  static const char* names[] = {"undefined", "None",  "bool", "int",       "float",   "string",
                                "list",      "tuple", "dict", "namespace", "function"};
  return names[static_cast<size_t>(x.kind)];
}

std::string text_of(const Value& x) {
  if (x.is(ValueKind::undefined)) return "";
  return x.is_string() ? x.text : repr_of(x);
}

std::string repr_of(const Value& x) {
  switch (x.kind) {
    case ValueKind::undefined:
      return "Undefined";
    case ValueKind::none:
      return "None";
    case ValueKind::boolean:
      return x.flag ? "True" : "False";
    case ValueKind::integer:
      return std::to_string(x.integer);
    case ValueKind::number:
      return number_text(x.number);
    case ValueKind::string:
      return quoted(x.text);
    case ValueKind::list:
      return "[" + joined(*x.items, repr_of) + "]";
    case ValueKind::tuple:
      return "(" + joined(*x.items, repr_of) + (x.items->size() == 1 ? ",)" : ")");
    case ValueKind::map:
      return "{" + joined(*x.entries, [](const auto& e) { return quoted(e.first) + ": " + repr_of(e.second); }) + "}";
    case ValueKind::space:
      return "<Namespace>";
    case ValueKind::function:
      return "<function " + x.text + ">";
  }
  return "";
}

std::string json_of(const Value& x, int64_t indent, const std::string& item_separator, const std::string& key_separator,
                    bool ascii, bool sort_keys) {
  std::function<std::string(const Value&, int64_t)> write = [&](const Value& v, int64_t depth) -> std::string {
    auto text = [&](const std::string& s) {
      return nlohmann::json(s).dump(-1, ' ', ascii, nlohmann::json::error_handler_t::replace);
    };
    auto line = [&](int64_t at) { return indent < 0 ? "" : "\n" + std::string(static_cast<size_t>(indent * at), ' '); };
    auto wrap = [&](const char* open, const std::vector<std::string>& parts, const char* close) {
      if (parts.empty()) return std::string(open) + close;
      std::string out = open + line(depth + 1);
      for (size_t i = 0; i < parts.size(); ++i) out += (i ? item_separator + line(depth + 1) : "") + parts[i];
      return out + line(depth) + close;
    };
    std::vector<std::string> parts;
    switch (v.kind) {
      case ValueKind::none:
        return "null";
      case ValueKind::boolean:
        return v.flag ? "true" : "false";
      case ValueKind::integer:
        return std::to_string(v.integer);
      case ValueKind::number:
        return std::isnan(v.number)   ? "NaN"
               : std::isinf(v.number) ? (v.number > 0 ? "Infinity" : "-Infinity")
                                      : repr_of(v);
      case ValueKind::string:
        return text(v.text);
      case ValueKind::list:
      case ValueKind::tuple:
        for (const auto& item : *v.items) parts.push_back(write(item, depth + 1));
        return wrap("[", parts, "]");
      case ValueKind::map: {
        Map entries = *v.entries;
        if (sort_keys)
          std::stable_sort(entries.begin(), entries.end(),
                           [](const auto& a, const auto& b) { return a.first < b.first; });
        for (const auto& [key, item] : entries) parts.push_back(text(key) + key_separator + write(item, depth + 1));
        return wrap("{", parts, "}");
      }
      default:
        bad_input(kTemplate, "tojson: a value of kind ", kind_name(v), " has no JSON");
    }
  };
  return write(x, 0);
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (!a.is(ValueKind::number) && !b.is(ValueKind::number)) return a.as_integer() == b.as_integer();
    return a.as_double() == b.as_double();
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case ValueKind::string:
      return a.text == b.text;
    case ValueKind::list:
    case ValueKind::tuple:
      return std::equal(a.items->begin(), a.items->end(), b.items->begin(), b.items->end(), equal);
    case ValueKind::map:
      if (a.entries->size() != b.entries->size()) return false;
      return std::all_of(a.entries->begin(), a.entries->end(), [&](const auto& entry) {
        const Value* other = b.find(entry.first);
        return other && equal(entry.second, *other);
      });
    case ValueKind::space:
      return a.entries == b.entries;
    case ValueKind::function:
      return a.call == b.call;
    default:
      return true;  // None, and undefined values
  }
}

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.as_double() < b.as_double();
  if (a.is_string() && b.is_string()) return a.text < b.text;  // UTF-8 sorts as its code points do
  if (a.is_sequence() && a.kind == b.kind)
    return std::lexicographical_compare(a.items->begin(), a.items->end(), b.items->begin(), b.items->end(), less);
  bad_input(kTemplate, "a ", kind_name(a), " and a ", kind_name(b), " can't be compared by size");
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    auto size = static_cast<size_t>(text::decode_at(text, at).size);
    out.emplace_back(text.substr(at, size));
    at += size;
  }
  return out;
}

int64_t length_of(const Value& x) {
  if (x.is_string()) return static_cast<int64_t>(characters(x.text).size());
  if (x.is_sequence()) return static_cast<int64_t>(x.items->size());
  if (x.is(ValueKind::map)) return static_cast<int64_t>(x.entries->size());
  if (x.is(ValueKind::undefined)) return 0;
  bad_input(kTemplate, "a ", kind_name(x), " has no length");
}

List elements_of(const Value& x) {
  List out;
  if (x.is_sequence()) return *x.items;
  if (x.is(ValueKind::undefined)) return out;
  if (x.is_string())
    for (auto& c : characters(x.text)) out.push_back(Value::of(std::move(c)));
  else if (x.is(ValueKind::map))
    for (const auto& [key, value] : *x.entries) out.push_back(Value::of(key));
  else
    bad_input(kTemplate, "a ", kind_name(x), " can't be gone over in a loop");
  return out;
}

Value item_of(const Value& x, const Value& key) {
  if (x.is(ValueKind::undefined))
    bad_input(kTemplate, "'", x.text, "' is undefined, and so has no item ", repr_of(key));
  if (x.is_map() && key.is_string()) {
    const Value* found = x.find(key.text);
    return found ? *found : Value::undefined(key.text);
  }
  bool whole = key.is(ValueKind::integer) || key.is(ValueKind::boolean);
  if (whole && x.is_sequence()) {
    int64_t size = length_of(x), at = key.as_integer() < 0 ? key.as_integer() + size : key.as_integer();
    if (at >= 0 && at < size) return (*x.items)[static_cast<size_t>(at)];
  } else if (whole && x.is_string()) {
    auto all = characters(x.text);
    int64_t size = static_cast<int64_t>(all.size()),
            at = key.as_integer() < 0 ? key.as_integer() + size : key.as_integer();
    if (at >= 0 && at < size) return Value::of(all[static_cast<size_t>(at)]);
  }
  return Value::undefined(text_of(key));
}

}  // namespace rft::jinja
