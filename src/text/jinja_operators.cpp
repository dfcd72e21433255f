#include "text/jinja_operators.h"

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"

namespace rft::jinja {
namespace {

using ValueKind = Value::Kind;

Value of_floats(const std::string& sign, double x, double y) {
  if (sign == "+") return Value::of(x + y);
  if (sign == "-") return Value::of(x - y);
  if (sign == "*") return Value::of(x * y);
  if (sign == "//") return Value::of(std::floor(x / y));
  if (sign == "**") return Value::of(std::pow(x, y));
  return Value::of(x - y * std::floor(x / y));
}
Value of_integers(const std::string& sign, int64_t x, int64_t y) {
  int64_t out = 0;
  bool over = false;
  if (sign == "+") over = __builtin_add_overflow(x, y, &out);
  if (sign == "-") over = __builtin_sub_overflow(x, y, &out);
  if (sign == "*") over = __builtin_mul_overflow(x, y, &out);
  if (sign == "//" || sign == "%") {
    if (y == -1) return sign == "%" ? Value::of(int64_t{0}) : of_integers("-", 0, x);
    int64_t quotient = x / y - ((x % y != 0) && ((x < 0) != (y < 0)));
    out = sign == "//" ? quotient : x - quotient * y;
  }
  if (sign == "**") {
    out = 1;
    for (int64_t i = 0; i < y && !over && (out != 0 || i == 0) && !(x == 1 && i > 0); ++i)
      over = __builtin_mul_overflow(out, x, &out);
  }
  if (over) bad_input(kTemplate, "a whole number beyond 64 bits");
  return Value::of(out);
}

}  // namespace

Value negated_or_signed(const std::string& sign, const Value& x) {
  if (sign == "not") return Value::of(!x.truth());
  if (!x.is_number()) bad_input(kTemplate, "a ", kind_name(x), " has no sign");
  if (sign == "+") return x;
  return x.is(ValueKind::number) ? Value::of(-x.number) : Value::of(-x.as_integer());
}

Value joined_texts(const std::string& a, const std::string& b) {
  if (a.size() + b.size() > kMostOutput) bad_input(kTemplate, "a text of more than ", kMostOutput, " bytes");
  return Value::of(a + b);
}

Value arithmetic(const std::string& sign, const Value& a, const Value& b) {
  if (sign == "+" && a.is_string() && b.is_string()) return joined_texts(a.text, b.text);
  if (sign == "+" && a.is_sequence() && a.kind == b.kind) {
    List out = *a.items;
    out.insert(out.end(), b.items->begin(), b.items->end());
    return Value::of(std::move(out), a.kind);
  }
  if (sign == "*" && (a.is_string() || b.is_string()) && (a.is(ValueKind::integer) || b.is(ValueKind::integer))) {
    const std::string& text = a.is_string() ? a.text : b.text;
    int64_t times = std::max<int64_t>(a.is_string() ? b.integer : a.integer, 0);
    if (!text.empty() && static_cast<size_t>(times) > kMostOutput / text.size())
      bad_input(kTemplate, "a text of more than ", kMostOutput, " bytes");
    std::string out;
    for (int64_t i = 0; i < times; ++i) out += text;
    return Value::of(out);
  }
  if (!a.is_number() || !b.is_number())
    bad_input(kTemplate, "'", sign, "' is not for a ", kind_name(a), " and a ", kind_name(b));
  bool zero = b.as_double() == 0;
  if (zero && (sign == "/" || sign == "//" || sign == "%")) bad_input(kTemplate, "division by 0");
  if (sign == "/") return Value::of(a.as_double() / b.as_double());
  if (a.is(ValueKind::number) || b.is(ValueKind::number) || (sign == "**" && b.as_integer() < 0))
    return of_floats(sign, a.as_double(), b.as_double());
  return of_integers(sign, a.as_integer(), b.as_integer());
}

}  // namespace rft::jinja
