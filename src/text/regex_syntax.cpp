/// From Oniguruma's syntax (Ruby's, as the `tokenizers` library uses it) to PCRE2's. What would mean something else
/// there is refused, so that a pattern never splits silently in another way.
#include <string>
#include <vector>

#include "rft/core/error.h"
#include "text/regex.h"

namespace rft::text {
namespace {

// Insides of a character class. Oniguruma's \w also takes the superscript digits and fractions of Latin-1.
const char* const kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
const char* const kSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
const char* const kNotSpace =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}";

class Translator {
 public:
  Translator(const std::string& in, const std::string& where) : in_(in), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) step();
    if (in_class_) refuse("a class that is not closed");
    return out_;
  }
  bool uses_categories() const { return uses_categories_; }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    bad_input(where_, "the pattern '", in_, "' has ", what, ", which is not supported (character ", at_ + 1, ")");
  }
  bool follows(const char* text) const { return in_.compare(at_, std::char_traits<char>::length(text), text) == 0; }
  void copy(size_t n) { out_.append(in_, at_, n), at_ += n; }

  void step() {
    char c = in_[at_];
    if (c == '\\') return escape();
    if (in_class_) return class_character(c);
    if (c == '[') return open_class();
    if (c == '{') return interval();
    if (follows("(?")) return group();
    copy(1);
  }

  void open_class() {
    in_class_ = true;
    copy(follows("[^") ? 2 : 1);
    if (at_ < in_.size() && in_[at_] == ']') refuse("an empty class");
  }
  void class_character(char c) {
    if (c == '[') refuse("a class within a class");
    if (follows("&&")) refuse("an intersection of classes");
    if (c == ']') in_class_ = false;
    copy(1);
  }

  /// {n}, {n,}, {n,m}; {,m} is {0,m} here and plain text to PCRE2, and a '+' after it is not possessive here.
  void interval() {
    size_t end = in_.find_first_not_of("0123456789,", at_ + 1);
    if (end == std::string::npos || in_[end] != '}' || end == at_ + 1) return out_ += "\\{", void(++at_);
    if (in_[at_ + 1] == ',') refuse("a repeat count without its lower limit");
    if (end + 1 < in_.size() && in_[end + 1] == '+') refuse("a '+' after a repeat count");
    copy(end + 1 - at_);
  }

  /// Of the inline options only i means the same to both; \k and names don't occur in tokenizers.
  void group() {
    size_t end = in_.find_first_not_of("imsx-", at_ + 2);
    if (end != std::string::npos && (in_[end] == ':' || in_[end] == ')') && in_.find_first_of("msx", at_ + 2) < end)
      refuse("an inline option other than i");
    static const std::string known = ":=!>#<imsx-";
    if (at_ + 2 >= in_.size() || known.find(in_[at_ + 2]) == std::string::npos) refuse("a special group");
    if (follows("(?<") && !follows("(?<=") && !follows("(?<!")) refuse("a named group");
    copy(2);
  }

  void escape() {
    if (at_ + 1 >= in_.size()) refuse("a '\\' at its end");
    char c = in_[at_ + 1];
    switch (c) {
      case 's':
        return put_class(kSpace, false);
      case 'S':
        return in_class_ ? put(kNotSpace, 2) : put_class(kSpace, true);
      case 'd':
        return put("\\p{Nd}", 2, true);
      case 'D':
        return put("\\P{Nd}", 2, true);
      case 'w':
        return uses_categories_ = true, put_class(kWord, false);
      case 'W':
        if (in_class_) refuse("\\W in a class");
        return uses_categories_ = true, put_class(kWord, true);
      case 'b':
        return in_class_ ? copy(2) : word_boundary();
      case 'p':
      case 'P':
        return property();
      case 'u':
        return hexadecimal();
      case 'x':
        if (size_t end = in_.find('}', at_); at_ + 2 < in_.size() && in_[at_ + 2] == '{' && end != std::string::npos)
          return copy(end + 1 - at_);
        break;
      default:
        break;
    }
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter && std::string("AzZtrnfaex").find(c) == std::string::npos) refuse(std::string("\\") + c);
    copy(2);
  }

  void put(const std::string& text, size_t taken, bool categories = false) {
    out_ += text, at_ += taken;
    uses_categories_ |= categories;
  }
  void put_class(const char* inside, bool negated) {
    put(in_class_ ? std::string(inside) : cat(negated ? "[^" : "[", inside, "]"), 2);
  }
  void word_boundary() {
    std::string word = cat("[", kWord, "]");
    put(cat("(?:(?<=", word, ")(?!", word, ")|(?<!", word, ")(?=", word, "))"), 2, true);
  }

  /// \p{L}, \p{^L}, \pL, \p{Han}; PCRE2 takes a bare script name for its extensions too.
  /// Alphabetic alone differs in 38 marks; \w has all marks anyway.
  void property() {
    size_t open = at_ + 2, end = open;
    std::string name;
    bool negated = in_[at_ + 1] == 'P';
    if (open < in_.size() && in_[open] == '{') {
      end = in_.find('}', open);
      if (end == std::string::npos) refuse("a property that is not closed");
      name = in_.substr(open + 1, end - open - 1);
      if (!name.empty() && name[0] == '^') negated = !negated, name.erase(0, 1);
    } else {
      refuse("a property without braces");
    }
    if (name.empty() ||
        name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_") != std::string::npos)
      refuse("the property '" + name + "'");
    if (name.size() > 2 && name != "Alphabetic" && name != "Any") name = "sc:" + name;
    put(cat(negated ? "\\P{" : "\\p{", name, "}"), end + 1 - at_, true);
  }

  void hexadecimal() {
    std::string digits = in_.substr(at_ + 2, 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
      refuse("a wrong \\u");
    put(cat("\\x{", digits, "}"), 6);
  }

  const std::string& in_;
  const std::string& where_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false, uses_categories_ = false;
};

}  // namespace

std::string translate_pattern(const std::string& pattern, const std::string& where, bool& uses_categories) {
  Translator translator(pattern, where);
  std::string out = translator.run();
  uses_categories = translator.uses_categories();
  return out;
}

}  // namespace rft::text
