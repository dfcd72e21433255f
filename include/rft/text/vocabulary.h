#pragma once
/// Sequences as tokens, one a character: DNA, proteins, names. Reads vocab.txt of transformers' EsmTokenizer.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rft {

/// Immutable after load.
class Vocabulary {
 public:
  /// `directory`/vocab.txt: one token a line, its id the line's number from 0. Names such as <mask> stand for no
  /// character. Throws UserError with the line of a token that is empty, or stands there twice.
  static Vocabulary load(const std::string& directory);

  /// Ids of UTF-8 `text`, character by character, names such as <mask> as one token. Throws UserError naming `where`
  /// and the character that has no token.
  std::vector<int64_t> encode(std::string_view text, const std::string& where) const;
  /// The tokens one after another; an id outside the vocabulary throws UserError.
  std::string decode(const std::vector<int64_t>& ids, bool skip_special = false) const;

  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }
  /// The id of an exact token, or -1.
  int64_t id(std::string_view token) const;
  const std::string& token(int64_t id) const;
  /// Whether the token is a name such as <mask>.
  bool is_special(int64_t id) const;

 private:
  std::vector<std::string> tokens_;
  std::map<std::string, int64_t, std::less<>> ids_;
  std::string where_;
};

}  // namespace rft
