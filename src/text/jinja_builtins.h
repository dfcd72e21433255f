#pragma once
/// Jinja2's filters and tests, and the methods of Python's values, that chat templates use.
#include <string>

#include "text/jinja_value.h"

namespace rft::jinja {

/// arguments.positional[0] | name(the others). Throws UserError where there is no such filter.
Value apply_filter(const std::string& name, const Arguments& arguments);
/// arguments.positional[0] is name(the others). Throws UserError where there is no such test.
bool apply_test(const std::string& name, const Arguments& arguments);
/// The method `name` of `of`, bound to it; undefined where it has none that a template may call.
Value method_of(const Value& of, const std::string& name);
/// raise_exception, strftime_now, namespace, dict, range, and others that every template sees.
Map globals();

}  // namespace rft::jinja
