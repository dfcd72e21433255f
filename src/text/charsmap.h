#pragma once
/// SentencePiece's `precompiled_charsmap`: a normaliser as a table, "Precompiled" in tokenizer.json.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/spec.h"

namespace rft::text {

/// A double-array trie from texts to their replacements.
class Charsmap {
 public:
  /// Of base64 text. Throws UserError where it is damaged.
  explicit Charsmap(const Spec& spec);
  /// What the `tokenizers` library makes of it: a grapheme below 6 bytes becomes the replacement of its shortest prefix
  /// in the table, whatever follows the prefix; of another each character is replaced alone.
  std::string operator()(const std::string& text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view text) const;

  std::vector<uint32_t> trie_;
  std::string replacements_;  ///< each ends in a zero byte
};

}  // namespace rft::text
