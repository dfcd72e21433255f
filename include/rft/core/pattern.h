#pragma once
/// Perl-compatible regular expressions (PCRE2) whose effort is bounded: patterns and texts come from others.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rft {

/// A pattern that matches `text` and nothing else.
std::string literal_pattern(const std::string& text);

/// Cheap to copy; may be used from several threads.
class Pattern {
 public:
  struct Options {
    bool whole = false;          ///< all of a text must match, not a part of it
    bool unicode = true;         ///< texts are UTF-8, and \w and the like are Unicode's
    uint32_t steps = 1'000'000;  ///< of one match
  };

  /// Throws UserError naming `where`, and the character, on a pattern that does not compile.
  Pattern(const std::string& pattern, const std::string& where, Options options);

  const std::string& text() const;
  /// Throws RunError with PCRE2's message where a limit is hit, or where a text is not UTF-8.
  bool matches(std::string_view text) const;
  /// How many groups in parentheses it has.
  uint32_t groups() const;
  /// What the first group holds in the last match of those that follow each other from the text's beginning; none where
  /// nothing matches, or the group had no part in that match. Throws RunError as matches() does.
  std::optional<std::string> last_group(std::string_view text) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

/// A pattern that a text must match as a whole, asked while the text grows.
class GrowingPattern {
 public:
  /// Throws UserError as Pattern does.
  GrowingPattern(const std::string& pattern, const std::string& where);

  struct State {
    bool complete = false;  ///< the text matches
    bool open = false;      ///< a longer text that begins so may match (taken for granted of "")
  };
  /// Throws RunError as Pattern::matches() does.
  State of(std::string_view text) const;
  /// Whether `text` and then a character that begins with the bytes `begun` match, or begin what matches. Asked are
  /// characters from all over what these bytes begin, and those of the pattern.
  bool goes_on(const std::string& text, const std::string& begun) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace rft
