#include <algorithm>
#include <cctype>
#include <cmath>
#include <vector>

#include "reward/math_value.h"

namespace rft::math {
namespace {

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
  auto ends = [&](const std::string& s) {
    return text.size() >= s.size() && text.compare(text.size() - s.size(), s.size(), s) == 0;
  };
  if (starts("\\{") && ends("\\}"))
    out.open = "\\{", out.close = "\\}";
  else if ((starts("(") || starts("[")) && (ends(")") || ends("]")))
    out.open = text.substr(0, 1), out.close = text.substr(text.size() - 1);
  std::string inside = text.substr(out.open.size(), text.size() - out.open.size() - out.close.size());
  int depth = 0;
  std::string part;
  for (char c : inside) {
    depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
    if (c == ',' && depth == 0)
      out.parts.push_back(std::move(part)), part.clear();
    else
      part += c;
  }
  out.parts.push_back(part);
  return out;
}

/// In lower case without spaces; "(C)" is "c".
std::string words(const std::string& text) {
  std::string out;
  for (unsigned char c : text)
    if (!std::isspace(c)) out += static_cast<char>(std::tolower(c));
  bool enclosed = out.size() > 2 && out.front() == '(' && out.find(')') == out.size() - 1;
  return enclosed && out.find(',') == std::string::npos ? out.substr(1, out.size() - 2) : out;
}

std::string without_percent(std::string text) {
  std::erase(text, '%');
  return text;
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
    auto without = one_percent ? evaluate(without_percent(a)) : std::nullopt, other = evaluate(without_percent(b));
    return without && other && same_number(*without, *other, tolerance);
  }
  return !x && !y && words(a) == words(b);
}

}  // namespace

bool same_answer(const std::string& given, const std::string& expected, double tolerance) {
  std::string a = right_side(normalized(given)), b = right_side(normalized(expected));
  if (a.empty() || b.empty()) return false;
  if (same_part(a, b, tolerance)) return true;
  return same_lists(split(normalized(a)), split(normalized(b)), tolerance);
}

}  // namespace rft::math
