#pragma once
/// What Jinja2's operators compute, as Python does.
#include <string>

#include "text/jinja_value.h"

namespace rft::jinja {

/// Bytes that a template may write, and a text may have.
inline constexpr size_t kMostOutput = size_t{1} << 24;

/// `not`, `+` and `-` before a value. Throws UserError where it has no sign.
Value negated_or_signed(const std::string& sign, const Value& x);
/// a ~ b. Throws UserError where that is too long.
Value joined_texts(const std::string& a, const std::string& b);
/// a `sign` b for + - * / // % **, of numbers, texts and lists. Throws UserError where they don't go together, on a
/// division by 0 and on whole numbers beyond 64 bits.
Value arithmetic(const std::string& sign, const Value& a, const Value& b);

}  // namespace rft::jinja
