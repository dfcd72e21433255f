#include "reward/math_number.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>

namespace rft::math {

Number inexact(double value) { return {value, false, 0, 1}; }

Number fraction(__int128 n, __int128 d) {
  if (d == 0) throw NotAnExpression{};
  if (d < 0) n = -n, d = -d;
  __int128 a = n < 0 ? -n : n, b = d;
  while (b) a %= b, std::swap(a, b);
  if (a > 1) n /= a, d /= a;
  return {static_cast<double>(n) / static_cast<double>(d), true, n, d};
}

namespace {

constexpr __int128 kNone = std::numeric_limits<__int128>::min();  // has no positive counterpart

/// a * b, or nullopt where it does not fit 127 bits.
std::optional<__int128> product_of(__int128 a, __int128 b) {
  __int128 out;
  if (__builtin_mul_overflow(a, b, &out) || out == kNone) return std::nullopt;
  return out;
}

}  // namespace

Number add(const Number& a, const Number& b, int sign) {
  if (a.exact && b.exact) {
    auto left = product_of(a.numerator, b.denominator), right = product_of(sign * b.numerator, a.denominator);
    auto below = product_of(a.denominator, b.denominator);
    __int128 above;
    if (left && right && below && !__builtin_add_overflow(*left, *right, &above) && above != kNone)
      return fraction(above, *below);
  }
  return inexact(a.value + sign * b.value);
}

Number multiply(const Number& a, const Number& b) {
  if (a.exact && b.exact) {
    auto above = product_of(a.numerator, b.numerator), below = product_of(a.denominator, b.denominator);
    if (above && below) return fraction(*above, *below);
  }
  return inexact(a.value * b.value);
}

Number divide(const Number& a, const Number& b) {
  if (b.value == 0) throw NotAnExpression{};
  if (!b.exact) return inexact(a.value / b.value);
  return multiply(a, fraction(b.denominator, b.numerator));
}

Number power(const Number& base, const Number& exponent) {
  bool whole = exponent.exact && exponent.denominator == 1 && std::abs(exponent.value) <= 126;
  if (!base.exact || !whole) return inexact(std::pow(base.value, exponent.value));
  Number out = fraction(1, 1);
  for (int i = 0; i < std::abs(static_cast<int>(exponent.value)); ++i) out = multiply(out, base);
  return exponent.value < 0 ? divide(fraction(1, 1), out) : out;
}

}  // namespace rft::math
