#pragma once
/// Mathematical answers as values: a small parser of what language models write, LaTeX included.
#include <optional>
#include <string>

#include "reward/math_number.h"

namespace rft::math {

/// Simplifies LaTeX and typography: no $, \left, \text{...}, spaces of all kinds; \dfrac is \frac, − is -, and so on.
/// "" where `text` is longer than 4 KiB.
std::string normalized(const std::string& text);

/// The value of an arithmetic expression: + - * / ^ ( ), implicit products, \frac, \sqrt, \cdot, \times, \pi, thousands
/// separators, decimals, mixed numbers, |x|, a trailing %, a trailing unit. nullopt where it is not one, or is nested
/// too deeply (32 brackets).
std::optional<Number> evaluate(const std::string& text);

/// True where the two answers are the same: equal numbers (exactly where both are exact, else within relative
/// `tolerance`), tuples, intervals and sets of such, or else the same words.
bool same_answer(const std::string& given, const std::string& expected, double tolerance);

}  // namespace rft::math
