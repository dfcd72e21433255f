#pragma once
/// Numbers that stay exact fractions as long as they fit.

namespace rft::math {

/// A number, exact where it is a fraction of 127-bit whole numbers. Decimals of six or more digits are not: they may be
/// rounded.
struct Number {
  double value = 0;
  bool exact = false;
  __int128 numerator = 0, denominator = 1;  ///< lowest terms, denominator > 0
};

/// Thrown where there is no such number: a division by 0, or text that is no expression.
struct NotAnExpression {};

Number inexact(double value);
/// n / d in lowest terms.
Number fraction(__int128 n, __int128 d);
/// a + sign * b.
Number add(const Number& a, const Number& b, int sign);
Number multiply(const Number& a, const Number& b);
Number divide(const Number& a, const Number& b);
Number power(const Number& base, const Number& exponent);

}  // namespace rft::math
