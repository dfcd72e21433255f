#pragma once
/// tokenizer.json's `decoder`.
#include <functional>
#include <string>
#include <vector>

#include "text/spec.h"

namespace rft::text {

struct Decoder {
  /// All tokens of a text to its parts, which are then joined.
  std::function<std::vector<std::string>(std::vector<std::string>)> all;
  /// The bytes of one token in the middle of a text, which may be a part of a character.
  std::function<std::string(std::string)> one;
};

/// Tokens with spaces between for null. Throws UserError on a kind that is not supported.
Decoder make_decoder(const Spec& spec);

}  // namespace rft::text
