#pragma once
/// `{"Regex": "..."}` or `{"String": "..."}`.
#include "text/regex.h"
#include "text/spec.h"

namespace rft::text {

inline Regex read_pattern(const Spec& spec) {
  std::string where = spec.file() + " " + spec.path();
  if (spec.has("Regex")) return Regex(spec.text("Regex"), where);
  if (spec.has("String")) return Regex::exact(spec.text("String"), where);
  spec.refuse("must hold a `Regex` or a `String`");
}

}  // namespace rft::text
