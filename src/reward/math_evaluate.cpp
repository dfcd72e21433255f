#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numbers>
#include <set>

#include "reward/math_number.h"
#include "reward/math_value.h"

namespace rft::math {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kExactDigits = 37;  // a literal of so many fits 127 bits

/// Recursive descent over normalized text.
class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Number whole() {
    Number value = sum();
    skip();
    if (take('%')) value = divide(value, fraction(100, 1));
    return value;
  }
  /// What is left: nothing, or a unit.
  std::string rest() {
    skip();
    return text_.substr(at_);
  }

 private:
  void skip() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_word(const std::string& word) {
    skip();
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  void expect(char c) {
    if (!take(c)) throw NotAnExpression{};
  }

  Number sum() {
    if (++depth_ > kMaxDepth) throw NotAnExpression{};
    Number value = product();
    for (;;) {
      if (take('+'))
        value = add(value, product(), 1);
      else if (take('-'))
        value = add(value, product(), -1);
      else
        break;
    }
    --depth_;
    return value;
  }

  Number product() {
    Number value = factor();
    for (;;) {
      if (take('*'))
        value = multiply(value, factor());
      else if (take('/'))
        value = divide(value, factor());
      else if (starts_factor())
        value = multiply(value, factor());
      else
        return value;
    }
  }

  bool at_word(const char* word) {
    skip();
    return text_.compare(at_, std::strlen(word), word) == 0;
  }
  /// After a factor: does another one follow without a sign, as in "2\pi" and "2(3)"?
  bool starts_factor() {
    return at_word("(") || at_word("\\frac") || at_word("\\sqrt") || at_word("\\pi") || at_word("sqrt(");
  }

  Number factor() {
    if (++depth_ > kMaxDepth) throw NotAnExpression{};
    Number value;
    if (take('-'))
      value = multiply(fraction(-1, 1), factor());
    else if (take('+'))
      value = factor();
    else
      value = raised(primary());
    --depth_;
    return value;
  }

  Number raised(const Number& base) {
    if (!take('^')) return base;
    return power(base, factor());
  }

  Number bracketed(char open, char close) {
    expect(open);
    Number value = sum();
    expect(close);
    return value;
  }

  Number primary() {
    skip();
    if (at_ >= text_.size()) throw NotAnExpression{};
    char c = text_[at_];
    if (c == '(') return bracketed('(', ')');
    if (c == '{') return bracketed('{', '}');
    if (c == '|') return magnitude();
    if (std::isdigit(static_cast<unsigned char>(c)) || c == '.') return mixed(literal());
    if (take_word("\\frac")) return ratio();
    if (take_word("\\sqrt")) return root();
    if (take_word("sqrt")) return square_root(bracketed('(', ')'));
    if (take_word("\\pi") || take_word("pi")) return inexact(std::numbers::pi);
    throw NotAnExpression{};
  }

  Number magnitude() {
    Number inside = bracketed('|', '|');
    return inside.value < 0 ? multiply(fraction(-1, 1), inside) : inside;
  }

  Number ratio() {
    Number top = bracketed('{', '}');
    return divide(top, bracketed('{', '}'));
  }

  /// 3\frac{1}{2} and 3 1/2 are 3.5. Anything but whole numbers above and below makes \frac a factor.
  Number mixed(const Number& whole) {
    size_t start = at_;
    skip();
    bool apart = at_ > start, latex = take_word("\\frac");
    if (whole.exact && whole.denominator == 1 && (apart || latex)) {
      auto above = digits(latex);
      bool over = latex || take('/');
      auto below = digits(latex);
      if (above && over && below) return add(whole, divide(fraction(*above, 1), fraction(*below, 1)), 1);
    }
    at_ = start;
    return whole;
  }

  /// At most 18 digits, in braces or not; nullopt where something else stands here.
  std::optional<int64_t> digits(bool in_braces) {
    if (in_braces && !take('{')) return std::nullopt;
    skip();
    size_t begin = at_;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) ++at_;
    if (at_ == begin || at_ - begin > 18) return std::nullopt;
    int64_t value = std::strtoll(text_.substr(begin, at_ - begin).c_str(), nullptr, 10);
    if (in_braces && !take('}')) return std::nullopt;
    return value;
  }

  Number root() {
    Number degree = fraction(2, 1);
    if (take('[')) {
      degree = sum();
      expect(']');
    }
    Number inside = bracketed('{', '}');
    if (degree.value == 2) return square_root(inside);
    return inexact(std::pow(inside.value, 1 / degree.value));
  }

  static Number square_root(const Number& inside) {
    double value = std::sqrt(inside.value);
    if (!std::isfinite(value)) throw NotAnExpression{};
    auto whole = static_cast<int64_t>(value);
    if (inside.exact && inside.denominator == 1 && static_cast<__int128>(whole) * whole == inside.numerator)
      return fraction(whole, 1);
    return inexact(value);
  }

  /// 12, 1,234,567, 3.25, .5. Six decimals or more may be rounded, so they are not exact; 1e3 is refused.
  Number literal() {
    std::string digits;
    int decimals = -1;
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (std::isdigit(static_cast<unsigned char>(c)))
        digits += c, decimals += decimals >= 0;
      else if (c == '.' && decimals < 0)
        decimals = 0;
      else if (c != ',' || decimals >= 0 || !is_thousands(digits.size()))
        break;
    }
    if (digits.empty()) throw NotAnExpression{};
    if (digits.size() > kExactDigits || decimals >= 6)
      return inexact(std::strtod((digits + "e-" + std::to_string(std::max(decimals, 0))).c_str(), nullptr));
    __int128 value = 0, scale = 1;
    for (char c : digits) value = value * 10 + (c - '0');
    for (int i = 0; i < decimals; ++i) scale *= 10;
    return fraction(value, scale);
  }
  /// A comma with exactly three digits behind it.
  bool is_thousands(size_t before) const {
    if (before == 0 || at_ + 3 >= text_.size()) return false;
    for (int i = 1; i <= 3; ++i)
      if (!std::isdigit(static_cast<unsigned char>(text_[at_ + i]))) return false;
    return at_ + 4 >= text_.size() || !std::isdigit(static_cast<unsigned char>(text_[at_ + 4]));
  }

  const std::string& text_;
  size_t at_ = 0;
  int depth_ = 0;
};

/// Words such as "cm^2", "apples" or "km/h"; "5x" is no 5 with a unit.
bool is_unit(const std::string& text) {
  static const std::set<std::string> kShort = {"m",  "g",  "s",  "h",  "l",  "L",  "cm", "mm", "km",
                                               "kg", "mg", "ml", "mL", "ft", "in", "mi", "lb", "oz",
                                               "hr", "am", "pm", "of", "to", "J",  "N",  "W"};
  std::string word;
  bool first = true;
  for (unsigned char c : text + " ") {
    if (std::isalpha(c)) {
      word += static_cast<char>(c);
      continue;
    }
    bool power = c == '^' || c == '2' || c == '3';
    if (first && word.empty() && !text.empty()) return false;
    if (!word.empty() && word.size() < 3 && !kShort.count(word)) return false;
    if (!power && !std::isspace(c) && c != '.' && c != '/') return false;
    word.clear(), first = false;
  }
  return true;
}

}  // namespace

std::optional<Number> evaluate(const std::string& given) {
  std::string text = normalized(given);
  if (text.empty()) return std::nullopt;
  try {
    Parser parser(text);
    Number value = parser.whole();
    if (!is_unit(parser.rest()) || !std::isfinite(value.value)) return std::nullopt;
    return value;
  } catch (const NotAnExpression&) {
    return std::nullopt;
  }
}

}  // namespace rft::math
