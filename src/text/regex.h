#pragma once
/// Regular expressions as the `tokenizers` library (Oniguruma, Unicode 16) reads them, run by PCRE2's compiler.
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace rft::text {

class Regex {
 public:
  /// Throws UserError ([where]) where the pattern does not compile, or means one thing to Oniguruma and another to
  /// PCRE2.
  Regex(const std::string& pattern, const std::string& where);
  /// A pattern that matches `text` and nothing else.
  static Regex exact(const std::string& text, const std::string& where);

  /// Calls found(begin, end) for each match in valid UTF-8 `subject`, left to right, not overlapping. Thread-safe.
  /// Throws UserError where matching takes more steps than PCRE2's limit.
  void each_match(std::string_view subject, const std::function<void(size_t, size_t)>& found) const;
  bool matches_at_start(std::string_view subject) const;
  /// `subject` with every match replaced by `content`.
  std::string replaced(const std::string& subject, const std::string& content) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

/// What the library takes for a character of a word where it does not ask Oniguruma: the insides of a class.
inline constexpr char kRustWord[] = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}";

/// The pattern in PCRE2's syntax. `uses_categories` is set where it names Unicode categories.
std::string translate_pattern(const std::string& pattern, const std::string& where, bool& uses_categories);

}  // namespace rft::text
