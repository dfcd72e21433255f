// Jinja2's tests.
#include <algorithm>
#include <map>

#include "text/jinja_arguments.h"
#include "text/jinja_builtins.h"

namespace rft::jinja {
namespace {

using ValueKind = Value::Kind;
using Test = bool (*)(const Arguments& a);

bool contains(const Value& all, const Value& one) {
  if (all.is_string()) {
    if (!one.is_string()) bad_input(kTemplate, "'in' a string needs a string before it; got a ", kind_name(one));
    return all.text.find(one.text) != std::string::npos;
  }
  if (all.is_map()) return one.is_string() && all.find(one.text);
  List items = elements_of(all);
  return std::any_of(items.begin(), items.end(), [&](const Value& x) { return equal(x, one); });
}

const std::map<std::string, Test>& tests() {
  static const std::map<std::string, Test> all = [] {
    std::map<std::string, Test> t = {
        {"defined", [](const Arguments& a) { return !self(a).is(ValueKind::undefined); }},
        {"undefined", [](const Arguments& a) { return self(a).is(ValueKind::undefined); }},
        {"none", [](const Arguments& a) { return self(a).is(ValueKind::none); }},
        {"string", [](const Arguments& a) { return self(a).is_string(); }},
        {"number", [](const Arguments& a) { return self(a).is_number(); }},
        {"integer", [](const Arguments& a) { return self(a).is(ValueKind::integer); }},
        {"float", [](const Arguments& a) { return self(a).is(ValueKind::number); }},
        {"boolean", [](const Arguments& a) { return self(a).is(ValueKind::boolean); }},
        {"true", [](const Arguments& a) { return self(a).is(ValueKind::boolean) && self(a).flag; }},
        {"false", [](const Arguments& a) { return self(a).is(ValueKind::boolean) && !self(a).flag; }},
        {"mapping", [](const Arguments& a) { return self(a).is(ValueKind::map); }},
        {"sequence",
         [](const Arguments& a) {
           return self(a).is_sequence() || self(a).is_string() || self(a).is(ValueKind::map) ||
                  self(a).is(ValueKind::undefined);
         }},
        {"iterable",
         [](const Arguments& a) {
           return self(a).is_sequence() || self(a).is_string() || self(a).is(ValueKind::map) ||
                  self(a).is(ValueKind::undefined);
         }},
        {"callable", [](const Arguments& a) { return self(a).is(ValueKind::function); }},
        {"odd", [](const Arguments& a) { return self(a).as_integer() % 2 != 0; }},
        {"even", [](const Arguments& a) { return self(a).as_integer() % 2 == 0; }},
        {"divisibleby",
         [](const Arguments& a) {
           int64_t by = argument(a, 1, "num").as_integer();
           if (by == 0) bad_input(kTemplate, "divisibleby: 0 divides nothing");
           return self(a).as_integer() % by == 0;
         }},
        {"lower", [](const Arguments& a) { return equal(self(a), by_method(a, "lower")); }},
        {"upper", [](const Arguments& a) { return equal(self(a), by_method(a, "upper")); }},
        {"in", [](const Arguments& a) { return contains(argument(a, 1, "seq"), self(a)); }},
        {"sameas",
         [](const Arguments& a) {
           return self(a).kind == argument(a, 1, "other").kind && equal(self(a), a.positional[1]);
         }},
        {"eq", [](const Arguments& a) { return equal(self(a), argument(a, 1, "other")); }},
        {"ne", [](const Arguments& a) { return !equal(self(a), argument(a, 1, "other")); }},
        {"lt", [](const Arguments& a) { return less(self(a), argument(a, 1, "other")); }},
        {"gt", [](const Arguments& a) { return less(argument(a, 1, "other"), self(a)); }},
        {"le", [](const Arguments& a) { return !less(argument(a, 1, "other"), self(a)); }},
        {"ge", [](const Arguments& a) { return !less(self(a), argument(a, 1, "other")); }},
    };
    for (auto [other, name] : {std::pair{"equalto", "eq"},
                               {"lessthan", "lt"},
                               {"greaterthan", "gt"},
                               {"==", "eq"},
                               {"!=", "ne"},
                               {"<", "lt"},
                               {">", "gt"},
                               {"<=", "le"},
                               {">=", "ge"}})
      t[other] = t.at(name);
    return t;
  }();
  return all;
}

}  // namespace

bool apply_test(const std::string& name, const Arguments& arguments) { return known(tests(), name, "test")(arguments); }

}  // namespace rft::jinja
