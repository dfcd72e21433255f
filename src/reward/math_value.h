#pragma once
/// Mathematical answers as values: a small parser of what language models write, LaTeX included.
#include <optional>
#include <string>
#include <vector>

namespace rft::math {

/// A number, exact where it is a fraction of 64-bit numbers.
struct Number {
  double value = 0;
  bool exact = false;
  __int128 numerator = 0, denominator = 1;  ///< lowest terms, denominator > 0
};

/// Simplifies LaTeX and typography: no $, \left, \text{...}, spaces of all kinds; \dfrac is \frac, − is -, and so on.
std::string normalized(const std::string& text);

/// The value of an arithmetic expression: + - * / ^ ( ), implicit products, \frac, \sqrt, \cdot, \times, \pi, thousands
/// separators, decimals, a trailing %, a trailing unit. nullopt where it is not one. Input is bounded in length (4 KiB) and
/// depth (64).
std::optional<Number> evaluate(const std::string& text);

/// True where the two answers are the same: equal numbers (exactly where both are exact, else within relative
/// `tolerance`), tuples, intervals and sets of such, or else the same words.
bool same_answer(const std::string& given, const std::string& expected, double tolerance);

}  // namespace rft::math
