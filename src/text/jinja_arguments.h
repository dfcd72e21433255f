#pragma once
/// What filters, tests and functions read of their arguments.
#include <string>
#include <vector>

#include "rft/core/error.h"
#include "rft/core/text.h"
#include "text/jinja_builtins.h"
#include "text/jinja_value.h"

namespace rft::jinja {

/// What a filter is applied to, or a test asks about.
inline const Value& self(const Arguments& a) { return a.positional.at(0); }
/// Throws UserError where it is missing.
inline const Value& argument(const Arguments& a, size_t place, const char* name) {
  const Value* found = a.find(place, name);
  if (!found) bad_input(kTemplate, "the argument ", name, " is missing");
  return *found;
}
/// `fallback` where it is missing or none.
inline int64_t whole_argument(const Arguments& a, size_t place, const char* name, int64_t fallback) {
  const Value* found = a.find(place, name);
  if (!found || found->is(Value::Kind::none)) return fallback;
  if (!found->is(Value::Kind::integer) && !found->is(Value::Kind::boolean))
    bad_input(kTemplate, name, " must be a whole number");
  return found->as_integer();
}
inline bool flag_argument(const Arguments& a, size_t place, const char* name) {
  const Value* found = a.find(place, name);
  return found && found->truth();
}
/// The argument where it is a text, else `fallback`.
inline std::string text_or(const Arguments& a, size_t place, const char* name, const std::string& fallback) {
  const Value* found = a.find(place, name);
  return found && found->is_string() ? found->text : fallback;
}

/// The method `name` of self(a)'s text, called with the other arguments.
inline Value by_method(const Arguments& a, const char* name) {
  Arguments rest = a;
  rest.positional.erase(rest.positional.begin());
  return (*method_of(Value::of(text_of(self(a))), name).call)(rest);
}

/// What `table` has under this name. Throws UserError with the nearest name where it has nothing.
template <class Table>
auto known(const Table& table, const std::string& name, const char* what) {
  auto found = table.find(name);
  if (found != table.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [key, value] : table) names.push_back(key);
  bad_input(kTemplate, "the ", what, " '", name, "' is not supported", suggestion(name, names));
}

}  // namespace rft::jinja
