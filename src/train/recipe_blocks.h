#pragma once
/// Blocks of a recipe that are both read (recipe.cpp) and written out (recipe_resolved.cpp).
#include <string>

#include "rft/train/recipe.h"

namespace rft {

/// In an environment's block: what is put around it, the innermost first.
inline constexpr char kWrappers[] = "wrappers";

inline void visit_replay(ReplayOptions& replay, OptionVisitor& v) {
  v.block(
      "replay", [&](OptionVisitor& in) { replay.visit(in); }, "what off-policy objectives learn from");
}

inline Config typed(const std::string& name) {
  Config out = Config::map();
  out.set("type", Config::scalar(name));
  return out;
}

}  // namespace rft
