#pragma once
/// tokenizer.json's `added_tokens`: texts that are found before the model sees anything, and become one id.
#include <array>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/model.h"
#include "text/normalizer.h"
#include "text/regex.h"
#include "text/spec.h"

namespace rft::text {

struct AddedToken {
  int64_t id;
  std::string content;
  bool single_word, lstrip, rstrip, normalized, special;
  std::string shown;  ///< what it decodes to: the content, normalised where `normalized`
};

/// A stretch of text: an added token, or (id -1) text for the model.
struct Stretch {
  size_t begin, end;
  int64_t id;
};

/// Finds the leftmost, there the longest, of some texts; a trie over bytes.
class Matcher {
 public:
  Matcher() { first_.fill(false); }
  /// The first one added under a text stays.
  void add(const std::string& text, size_t index);
  /// False where none is at or after `from`.
  bool find(std::string_view text, size_t from, size_t& begin, size_t& end, size_t& index) const;
  bool empty() const { return ends_.empty(); }

 private:
  std::array<bool, 256> first_;
  std::unordered_map<uint64_t, uint32_t> next_;  // node << 8 | byte
  std::unordered_map<uint32_t, size_t> ends_;    // node -> index
  uint32_t nodes_ = 1;
};

class AddedTokens {
 public:
  /// As the library does, ids follow the order of the list: one that the model's vocabulary has keeps its id, the
  /// others come after it.
  AddedTokens(const Spec& file, const Model& model, const Normalizer& normalizer);

  /// Cuts text at the tokens that are looked for before (`normalized` false) or after normalisation.
  std::vector<Stretch> split(std::string_view text, bool normalized) const;
  int64_t id(std::string_view content) const;
  const std::map<int64_t, AddedToken>& by_id() const { return by_id_; }
  bool is_special(const std::string& content) const { return special_.count(content) > 0; }

 private:
  void add(AddedToken token, const Model& model);
  void index();

  std::vector<AddedToken> tokens_;
  std::map<int64_t, AddedToken> by_id_;
  Vocabulary ids_;
  std::set<std::string> special_;
  int64_t last_ = -1;  // the largest id given
  Matcher raw_, normalized_;
  Regex word_;
};

}  // namespace rft::text
