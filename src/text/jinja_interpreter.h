#pragma once
/// Runs a parsed chat template.
#include <string>

#include "text/jinja_syntax.h"

namespace rft::jinja {

/// The text that `body` comes to with `variables` beside the globals. Throws UserError with `where` and the line: where
/// the template refuses its input (raise_exception), uses what is undefined, or exceeds a limit: a million operations,
/// 16 MiB of output, 100 calls deep.
std::string render(const Body& body, const Map& variables, const std::string& where);

}  // namespace rft::jinja
