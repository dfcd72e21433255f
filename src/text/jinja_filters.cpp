// Jinja2's filters.
#include <algorithm>
#include <cmath>
#include <map>

#include "text/jinja_arguments.h"
#include "text/jinja_builtins.h"

namespace rft::jinja {
namespace {

using ValueKind = Value::Kind;
using Filter = Value (*)(const Arguments& a);

/// item.a.b, as attribute="a.b" means it.
Value attribute_of(Value item, const std::string& path) {
  for (const auto& part : split(path, '.')) {
    bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos && part.size() < 10;
    item = item_of(item, number ? Value::of(static_cast<int64_t>(std::stoll(part))) : Value::of(part));
  }
  return item;
}

Value to_json(const Arguments& a) {
  int64_t indent = whole_argument(a, 2, "indent", -1);
  const Value* separators = a.find(3, "separators");
  std::string item = indent < 0 ? ", " : ",", key = ": ";
  if (separators && separators->is_sequence() && separators->items->size() == 2)
    item = text_of((*separators->items)[0]), key = text_of((*separators->items)[1]);
  if (indent > 64) bad_input(kTemplate, "tojson: indent must be at most 64; got ", indent);
  return Value::of(
      json_of(self(a), indent, item, key, flag_argument(a, 1, "ensure_ascii"), flag_argument(a, 4, "sort_keys")));
}

Value to_integer(const Arguments& a) {
  const Value& x = self(a);
  if (x.is(ValueKind::number)) return Value::of(static_cast<int64_t>(x.number));
  if (x.is_number()) return Value::of(x.as_integer());
  int64_t value = 0;
  std::string text = x.is_string() ? text_of((*method_of(x, "strip").call)({})) : "";
  auto end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, value);
  if (!text.empty() && read.ec == std::errc() && read.ptr == end) return Value::of(value);
  return Value::of(whole_argument(a, 1, "default", 0));
}
Value to_float(const Arguments& a) {
  const Value& x = self(a);
  if (x.is_number()) return Value::of(x.as_double());
  try {
    size_t used = 0;
    double value = std::stod(x.text, &used);
    if (used == x.text.size()) return Value::of(value);
  } catch (const std::logic_error&) {
  }
  const Value* fallback = a.find(1, "default");
  return fallback ? *fallback : Value::of(0.0);
}
Value absolute(const Arguments& a) {
  const Value& x = self(a);
  return x.is(ValueKind::number) ? Value::of(std::abs(x.number)) : Value::of(std::abs(x.as_integer()));
}
Value rounded(const Arguments& a) {
  double scale = std::pow(10.0, static_cast<double>(whole_argument(a, 1, "precision", 0))),
         x = self(a).as_double() * scale;
  std::string method = text_or(a, 2, "method", "common");
  return Value::of((method == "ceil" ? std::ceil(x) : method == "floor" ? std::floor(x) : std::nearbyint(x)) / scale);
}

Value joined(const Arguments& a) {
  std::string separator = text_or(a, 1, "d", ""), attribute = text_or(a, 2, "attribute", ""), out;
  bool first = true;
  for (const auto& item : elements_of(self(a))) {
    out += (first ? "" : separator) + text_of(attribute.empty() ? item : attribute_of(item, attribute));
    first = false;
  }
  return Value::of(out);
}

/// Values by which elements are sorted and told apart: text without case, unless told otherwise.
Value sort_key(const Value& item, const std::string& attribute, bool case_sensitive) {
  Value key = attribute.empty() ? item : attribute_of(item, attribute);
  if (key.is_string() && !case_sensitive) return (*method_of(key, "lower").call)({});
  return key;
}
Value sorted(const Arguments& a) {
  List items = elements_of(self(a));
  bool reverse = flag_argument(a, 1, "reverse"), exact = flag_argument(a, 2, "case_sensitive");
  std::string attribute = text_or(a, 3, "attribute", "");
  std::stable_sort(items.begin(), items.end(), [&](const Value& x, const Value& y) {
    Value p = sort_key(x, attribute, exact), q = sort_key(y, attribute, exact);
    return reverse ? less(q, p) : less(p, q);
  });
  return Value::of(std::move(items));
}
Value sorted_map(const Arguments& a) {
  List items = elements_of((*method_of(self(a), "items").call)({}));
  bool by_value = text_or(a, 2, "by", "key") == "value", reverse = flag_argument(a, 3, "reverse");
  std::stable_sort(items.begin(), items.end(), [&](const Value& x, const Value& y) {
    Value p = sort_key((*x.items)[by_value], "", flag_argument(a, 1, "case_sensitive")),
          q = sort_key((*y.items)[by_value], "", flag_argument(a, 1, "case_sensitive"));
    return reverse ? less(q, p) : less(p, q);
  });
  return Value::of(std::move(items));
}
Value unique(const Arguments& a) {
  List out, seen;
  std::string attribute = text_or(a, 2, "attribute", "");
  for (const auto& item : elements_of(self(a))) {
    Value key = sort_key(item, attribute, flag_argument(a, 1, "case_sensitive"));
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& x) { return equal(x, key); })) continue;
    seen.push_back(key), out.push_back(item);
  }
  return Value::of(std::move(out));
}
Value reversed(const Arguments& a) {
  List items = elements_of(self(a));
  std::reverse(items.begin(), items.end());
  if (!self(a).is_string()) return Value::of(std::move(items));
  std::string out;
  for (const auto& c : items) out += c.text;
  return Value::of(out);
}
Value end_of(const Arguments& a, bool last) {
  List items = elements_of(self(a));
  return items.empty() ? Value::undefined("an element") : last ? items.back() : items.front();
}
Value extreme(const Arguments& a, bool largest) {
  List items = elements_of(self(a));
  if (items.empty()) return Value::undefined("an element");
  std::string attribute = text_or(a, 2, "attribute", "");
  auto before = [&](const Value& x, const Value& y) {
    return less(sort_key(x, attribute, flag_argument(a, 1, "case_sensitive")),
                sort_key(y, attribute, flag_argument(a, 1, "case_sensitive")));
  };
  return largest ? *std::max_element(items.begin(), items.end(), before)
                 : *std::min_element(items.begin(), items.end(), before);
}
Value sum(const Arguments& a) {
  std::string attribute = text_or(a, 1, "attribute", "");
  bool whole = true;
  double total = 0;
  int64_t exact = 0;
  for (const auto& item : elements_of(self(a))) {
    Value x = attribute.empty() ? item : attribute_of(item, attribute);
    if (!x.is_number()) bad_input(kTemplate, "sum: a ", kind_name(x), " is no number");
    whole &= !x.is(ValueKind::number), total += x.as_double(), exact += x.is(ValueKind::number) ? 0 : x.as_integer();
  }
  return whole ? Value::of(exact) : Value::of(total);
}

/// map(attribute="a"), or map("filter", ...).
Value mapped(const Arguments& a) {
  List out;
  const Value* attribute = a.find(99, "attribute");
  const Value* fallback = a.find(99, "default");
  for (const auto& item : elements_of(self(a))) {
    if (attribute) {
      Value value = attribute->is_string() ? attribute_of(item, attribute->text) : item_of(item, *attribute);
      out.push_back(value.is(ValueKind::undefined) && fallback ? *fallback : value);
      continue;
    }
    Arguments rest{{item}, a.named};
    for (size_t i = 2; i < a.positional.size(); ++i) rest.positional.push_back(a.positional[i]);
    out.push_back(apply_filter(argument(a, 1, "filter").text, rest));
  }
  return Value::of(std::move(out));
}

/// select, reject, selectattr, rejectattr: elements (or an attribute of each) that pass a test.
Value chosen(const Arguments& a, bool keep, bool by_attribute) {
  List out;
  size_t at = by_attribute ? 2 : 1;
  for (const auto& item : elements_of(self(a))) {
    Value subject = by_attribute ? attribute_of(item, argument(a, 1, "attribute").text) : item;
    bool passes = subject.truth();
    if (a.positional.size() > at) {
      Arguments rest{{subject}, {}};
      for (size_t i = at + 1; i < a.positional.size(); ++i) rest.positional.push_back(a.positional[i]);
      passes = apply_test(a.positional[at].text, rest);
    }
    if (passes == keep) out.push_back(item);
  }
  return Value::of(std::move(out));
}

Value indented(const Arguments& a) {
  const Value* width = a.find(1, "width");
  std::string space =
      width && width->is_string()
          ? width->text
          : std::string(static_cast<size_t>(std::clamp<int64_t>(whole_argument(a, 1, "width", 4), 0, 1000)), ' ');
  bool first = flag_argument(a, 2, "first"), blank = flag_argument(a, 3, "blank");
  std::string out;
  auto lines = split(text_of(self(a)), '\n');
  for (size_t i = 0; i < lines.size(); ++i) {
    bool pad = i == 0 ? first : blank || !lines[i].empty();
    out += (i ? "\n" : "") + (pad ? space : "") + lines[i];
  }
  return Value::of(out);
}

Value default_of(const Arguments& a) {
  bool missing = self(a).is(ValueKind::undefined) || (flag_argument(a, 2, "boolean") && !self(a).truth());
  const Value* fallback = a.find(1, "default_value");
  return !missing ? self(a) : fallback ? *fallback : Value::of("");
}

Value escaped(const Arguments& a) {
  std::string out;
  for (char c : text_of(self(a))) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&#34;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += c;
  }
  return Value::of(out);
}

/// The filter's words end at white space, hyphens and opening brackets, unlike those of Python's title().
Value title(const Arguments& a) {
  std::string out;
  bool begins = true;
  for (const auto& c : characters(text_of(self(a)))) {
    bool separates = c.size() == 1 && std::string("- \t\n\r\f\v({[<").find(c) != std::string::npos;
    out += separates ? c : method_of(Value::of(c), begins ? "upper" : "lower").call->operator()({}).text;
    begins = separates;
  }
  return Value::of(out);
}

const std::map<std::string, Filter>& filters() {
  static const std::map<std::string, Filter> all = {
      {"tojson", to_json},
      {"int", to_integer},
      {"float", to_float},
      {"abs", absolute},
      {"round", rounded},
      {"join", joined},
      {"sort", sorted},
      {"dictsort", sorted_map},
      {"unique", unique},
      {"reverse", reversed},
      {"sum", sum},
      {"map", mapped},
      {"indent", indented},
      {"default", default_of},
      {"d", default_of},
      {"escape", escaped},
      {"e", escaped},
      {"first", [](const Arguments& a) { return end_of(a, false); }},
      {"last", [](const Arguments& a) { return end_of(a, true); }},
      {"min", [](const Arguments& a) { return extreme(a, false); }},
      {"max", [](const Arguments& a) { return extreme(a, true); }},
      {"select", [](const Arguments& a) { return chosen(a, true, false); }},
      {"reject", [](const Arguments& a) { return chosen(a, false, false); }},
      {"selectattr", [](const Arguments& a) { return chosen(a, true, true); }},
      {"rejectattr", [](const Arguments& a) { return chosen(a, false, true); }},
      {"length", [](const Arguments& a) { return Value::of(length_of(self(a))); }},
      {"count", [](const Arguments& a) { return Value::of(length_of(self(a))); }},
      {"string", [](const Arguments& a) { return Value::of(text_of(self(a))); }},
      {"list", [](const Arguments& a) { return Value::of(elements_of(self(a))); }},
      {"items",
       [](const Arguments& a) {
         return self(a).is(ValueKind::undefined) ? Value::of(List{}) : (*method_of(self(a), "items").call)({});
       }},
      {"safe", [](const Arguments& a) { return Value::of(text_of(self(a))); }},
      {"trim", [](const Arguments& a) { return by_method(a, "strip"); }},
      {"upper", [](const Arguments& a) { return by_method(a, "upper"); }},
      {"lower", [](const Arguments& a) { return by_method(a, "lower"); }},
      {"title", title},
      {"capitalize", [](const Arguments& a) { return by_method(a, "capitalize"); }},
      {"replace", [](const Arguments& a) { return by_method(a, "replace"); }},
  };
  return all;
}

}  // namespace

Value apply_filter(const std::string& name, const Arguments& arguments) {
  return known(filters(), name, "filter")(arguments);
}

}  // namespace rft::jinja
