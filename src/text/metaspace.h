#pragma once
/// SentencePiece's way with spaces, "Metaspace" in tokenizer.json.
#include "text/spec.h"

namespace rft::text {

struct Metaspace {
  std::string replacement;  ///< stands for a space, usually U+2581
  std::string prepend;      ///< always, first (to the text's first piece) or never: whether texts get one in front
  bool split;
};

inline Metaspace read_metaspace(const Spec& spec) {
  bool given = spec.has("prepend_scheme");
  std::string older = spec.flag("add_prefix_space", true) ? "always" : "never";
  Metaspace out{spec.text("replacement"), spec.text("prepend_scheme", older), spec.flag("split", true)};
  static const std::vector<std::string> known{"always", "first", "never"};
  for (const auto& name : known)
    if (out.prepend == name) return out;
  spec.at(given ? "prepend_scheme" : "add_prefix_space")
      .refuse("has no '", out.prepend, "'", suggestion(out.prepend, known));
}

}  // namespace rft::text
