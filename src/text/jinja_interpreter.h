#pragma once
/// Runs a parsed chat template.
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_syntax.h"

namespace rft::jinja {

/// The text that `body` comes to with `variables` beside the globals. Throws UserError with `where` and the line: where
/// the template refuses its input (raise_exception), uses what is undefined, or exceeds a limit: a million operations,
/// 16 MiB of output, 100 calls deep.
struct Rendered {
  std::string text;
  /// Bytes [first, second) of the text that {% generation %} blocks wrote, in order. A block inside a macro or another
  /// captured text ends up where the template puts it, and is not among them.
  std::vector<std::pair<size_t, size_t>> marked;
  int captured_line = 0;  ///< the line of such a block, 0: there is none
};
Rendered render(const Body& body, const Map& variables, const std::string& where);

}  // namespace rft::jinja
