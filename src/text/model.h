#pragma once
/// tokenizer.json's `model`: what turns a piece of text into ids.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/spec.h"

namespace rft::text {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using Vocabulary = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

/// May be used from several threads.
class Model {
 public:
  virtual ~Model() = default;
  /// Appends the ids of one piece of valid UTF-8.
  virtual void encode(std::string_view piece, std::vector<int64_t>& out) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
  /// -1 where the vocabulary lacks it.
  int64_t id(std::string_view token) const {
    auto found = vocabulary().find(token);
    return found == vocabulary().end() ? -1 : found->second;
  }
};

/// BPE, Unigram or WordPiece. Throws UserError on a kind that is not supported.
std::unique_ptr<Model> make_model(const Spec& spec);

/// The ids of the tokens "<0x00>" to "<0xFF>" with which unknown characters are spelled; -1 for those that are missing.
std::vector<int32_t> byte_tokens(const Vocabulary& vocabulary);

}  // namespace rft::text
