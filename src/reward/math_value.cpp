#include "reward/math_value.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <numbers>

namespace rft::math {
namespace {

constexpr size_t kMaxLength = 4096;
constexpr int kMaxDepth = 64;
constexpr __int128 kLargest = __int128{1} << 62;

struct NotAnExpression {};

Number inexact(double value) { return {value, false, 0, 1}; }

Number fraction(__int128 n, __int128 d) {
  if (d == 0) throw NotAnExpression{};
  if (d < 0) n = -n, d = -d;
  __int128 a = n < 0 ? -n : n, b = d;
  while (b) a %= b, std::swap(a, b);
  if (a > 1) n /= a, d /= a;
  Number out{static_cast<double>(n) / static_cast<double>(d), true, n, d};
  if (n > kLargest || n < -kLargest || d > kLargest) out.exact = false;  // later products could overflow
  return out;
}

Number add(const Number& a, const Number& b, int sign) {
  if (!a.exact || !b.exact) return inexact(a.value + sign * b.value);
  return fraction(a.numerator * b.denominator + sign * b.numerator * a.denominator, a.denominator * b.denominator);
}
Number multiply(const Number& a, const Number& b) {
  return a.exact && b.exact ? fraction(a.numerator * b.numerator, a.denominator * b.denominator) : inexact(a.value * b.value);
}
Number divide(const Number& a, const Number& b) {
  if (b.value == 0) throw NotAnExpression{};
  return a.exact && b.exact ? fraction(a.numerator * b.denominator, a.denominator * b.numerator) : inexact(a.value / b.value);
}

Number power(const Number& base, const Number& exponent) {
  bool whole = exponent.exact && exponent.denominator == 1 && std::abs(exponent.value) <= 64;
  if (!base.exact || !whole) return inexact(std::pow(base.value, exponent.value));
  Number out = fraction(1, 1);
  for (int i = 0; i < std::abs(static_cast<int>(exponent.value)); ++i) out = multiply(out, base);
  return exponent.value < 0 ? divide(fraction(1, 1), out) : out;
}

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
      if (take('+')) value = add(value, product(), 1);
      else if (take('-')) value = add(value, product(), -1);
      else break;
    }
    --depth_;
    return value;
  }

  Number product() {
    Number value = factor();
    for (;;) {
      if (take('*')) value = multiply(value, factor());
      else if (take('/')) value = divide(value, factor());
      else if (starts_factor()) value = mixed_ ? add(value, factor(), 1) : multiply(value, factor());
      else return value;
    }
  }

  /// After a factor: does another one follow without a sign? "2\pi" and "2(3)" are products, "3 \frac{1}{2}" a mixed number.
  bool starts_factor() {
    skip();
    mixed_ = false;
    if (at_ >= text_.size()) return false;
    char c = text_[at_];
    if (c == '\\' && text_.compare(at_, 5, "\\frac") == 0) {
      mixed_ = at_ > 0 && plain_integer_;
      return true;
    }
    return c == '(' || text_.compare(at_, 5, "\\sqrt") == 0 || text_.compare(at_, 3, "\\pi") == 0 || text_.compare(at_, 5, "sqrt(") == 0;
  }

  Number factor() {
    if (++depth_ > kMaxDepth) throw NotAnExpression{};
    Number value;
    if (take('-')) value = multiply(fraction(-1, 1), factor());
    else if (take('+')) value = factor();
    else value = raised(primary());
    --depth_;
    return value;
  }

  Number raised(const Number& base) {
    if (!take('^')) return base;
    plain_integer_ = false;
    return power(base, factor());
  }

  Number bracketed(char open, char close) {
    expect(open);
    Number value = sum();
    expect(close);
    plain_integer_ = false;
    return value;
  }

  Number primary() {
    skip();
    if (at_ >= text_.size()) throw NotAnExpression{};
    char c = text_[at_];
    if (c == '(') return bracketed('(', ')');
    if (c == '{') return bracketed('{', '}');
    if (std::isdigit(static_cast<unsigned char>(c)) || c == '.') return literal();
    plain_integer_ = false;
    if (take_word("\\frac")) {
      Number top = bracketed('{', '}');
      return divide(top, bracketed('{', '}'));
    }
    if (take_word("\\sqrt")) return root();
    if (take_word("sqrt")) return square_root(bracketed('(', ')'));
    if (take_word("\\pi") || take_word("pi")) return inexact(std::numbers::pi);
    throw NotAnExpression{};
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
    if (inside.exact && inside.denominator == 1 && static_cast<__int128>(whole) * whole == inside.numerator) return fraction(whole, 1);
    return inexact(value);
  }

  /// 12, 1,234,567, 3.25, .5, 1e3 is 1 times e3 and refused.
  Number literal() {
    std::string digits;
    int decimals = -1;
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (std::isdigit(static_cast<unsigned char>(c))) digits += c, decimals += decimals >= 0;
      else if (c == '.' && decimals < 0) decimals = 0;
      else if (c != ',' || decimals >= 0 || !is_thousands(digits.size())) break;
    }
    if (digits.empty()) throw NotAnExpression{};
    plain_integer_ = decimals <= 0;
    if (digits.size() > 18) return inexact(std::strtod(digits.c_str(), nullptr) * std::pow(10.0, -std::max(decimals, 0)));
    __int128 scale = 1;
    for (int i = 0; i < decimals; ++i) scale *= 10;
    return fraction(std::strtoll(digits.c_str(), nullptr, 10), scale);
  }
  /// A comma with exactly three digits behind it, and one to three (or whole groups) in front.
  bool is_thousands(size_t before) const {
    if (before == 0 || at_ + 3 >= text_.size()) return false;
    for (int i = 1; i <= 3; ++i)
      if (!std::isdigit(static_cast<unsigned char>(text_[at_ + i]))) return false;
    return at_ + 4 >= text_.size() || !std::isdigit(static_cast<unsigned char>(text_[at_ + 4]));
  }

  const std::string& text_;
  size_t at_ = 0;
  int depth_ = 0;
  bool plain_integer_ = false, mixed_ = false;
};

bool is_unit(const std::string& rest) {
  return std::all_of(rest.begin(), rest.end(), [](unsigned char c) { return std::isalpha(c) || std::isspace(c) || c == '.' || c == '^' || c == '2' || c == '3' || c == '/'; }) &&
         (rest.empty() || std::isalpha(static_cast<unsigned char>(rest[0])));
}

bool same_number(const Number& a, const Number& b, double tolerance) {
  if (a.exact && b.exact) return a.numerator == b.numerator && a.denominator == b.denominator;
  return std::abs(a.value - b.value) <= tolerance * std::max({1.0, std::abs(a.value), std::abs(b.value)});
}

/// "(1, 2]", "\{1, 2\}", "1, 2": brackets and the parts at the top level; one part where it is no list.
struct List {
  std::string open, close;
  std::vector<std::string> parts;
};

List split(const std::string& given) {
  List out;
  std::string text = given;
  auto starts = [&](const char* s) { return text.rfind(s, 0) == 0; };
  auto ends = [&](const std::string& s) { return text.size() >= s.size() && text.compare(text.size() - s.size(), s.size(), s) == 0; };
  if (starts("\\{") && ends("\\}")) out.open = "\\{", out.close = "\\}";
  else if ((starts("(") || starts("[")) && (ends(")") || ends("]"))) out.open = text.substr(0, 1), out.close = text.substr(text.size() - 1);
  std::string inside = text.substr(out.open.size(), text.size() - out.open.size() - out.close.size());
  int depth = 0;
  std::string part;
  for (char c : inside) {
    depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
    if (c == ',' && depth == 0) out.parts.push_back(std::move(part)), part.clear();
    else part += c;
  }
  out.parts.push_back(part);
  return out;
}

std::string words(const std::string& text) {
  std::string out;
  for (unsigned char c : text)
    if (!std::isspace(c)) out += static_cast<char>(std::tolower(c));
  return out;
}

/// "x = 5" says 5.
std::string right_side(const std::string& text) {
  size_t at = text.find('=');
  if (at == std::string::npos || text.find('=', at + 1) != std::string::npos) return text;
  std::string left = words(text.substr(0, at));
  return left.size() == 1 && std::isalpha(static_cast<unsigned char>(left[0])) ? text.substr(at + 1) : text;
}

bool same_part(const std::string& a, const std::string& b, double tolerance);

bool same_lists(const List& a, const List& b, double tolerance) {
  if (a.parts.size() != b.parts.size() || a.parts.size() < 2) return false;
  bool set = (a.open == "\\{" || a.open.empty()) && (b.open == "\\{" || b.open.empty());
  if (!set && (a.open != b.open || a.close != b.close)) return false;
  std::vector<bool> used(b.parts.size(), false);
  for (size_t i = 0; i < a.parts.size(); ++i) {
    bool found = false;
    for (size_t j = set ? 0 : i; j < (set ? b.parts.size() : i + 1) && !found; ++j)
      if (!used[j] && same_part(a.parts[i], b.parts[j], tolerance)) used[j] = found = true;
    if (!found) return false;
  }
  return true;
}

bool same_part(const std::string& a, const std::string& b, double tolerance) {
  auto x = evaluate(a), y = evaluate(b);
  if (x && y) {
    // "50%" is both 0.5 and, where the expected answer is a plain number, 50.
    if (same_number(*x, *y, tolerance)) return true;
    bool one_percent = (a.find('%') == std::string::npos) != (b.find('%') == std::string::npos);
    const Number hundred{100, true, 100, 1};
    return one_percent && (a.find('%') != std::string::npos ? same_number(multiply(*x, hundred), *y, tolerance) : same_number(*x, multiply(*y, hundred), tolerance));
  }
  return !x && !y && words(a) == words(b);
}

}  // namespace

std::optional<Number> evaluate(const std::string& given) {
  std::string text = normalized(given);
  if (text.empty() || text.size() > kMaxLength) return std::nullopt;
  try {
    Parser parser(text);
    Number value = parser.whole();
    if (!is_unit(parser.rest()) || !std::isfinite(value.value)) return std::nullopt;
    return value;
  } catch (const NotAnExpression&) {
    return std::nullopt;
  }
}

bool same_answer(const std::string& given, const std::string& expected, double tolerance) {
  std::string a = right_side(normalized(given)), b = right_side(normalized(expected));
  if (a.empty() || b.empty() || a.size() > kMaxLength || b.size() > kMaxLength) return false;
  if (same_part(a, b, tolerance)) return true;
  return same_lists(split(normalized(a)), split(normalized(b)), tolerance);
}

}  // namespace rft::math
