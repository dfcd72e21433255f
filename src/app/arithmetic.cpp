#include "app/arithmetic.h"

#include <set>
#include <utility>

#include "rft/core/error.h"

namespace rft::app {

std::string prompt_of(const Addition& problem) { return cat(problem.a, "+", problem.b, "="); }

namespace {

/// Column by column from the right, the sum last; column `slip` is counted wrong by `off`.
std::string worked(const Addition& problem, bool forgetful, int64_t slip, int64_t off) {
  std::string text, sum;
  int64_t carry = 0, place = 0;
  for (int64_t a = problem.a, b = problem.b; a > 0 || b > 0; a /= 10, b /= 10, ++place) {
    int64_t column = a % 10 + b % 10 + carry;
    if (place == slip) column = (column + off + 20) % 20;
    if (!text.empty()) text += ",";
    text += cat(a % 10, "+", b % 10, carry ? "+1" : "", "=", column);
    bool last = a < 10 && b < 10;
    sum = (last ? std::to_string(column) : std::to_string(column % 10)) + sum;
    carry = forgetful ? 0 : column / 10;
  }
  return text + ";" + sum;
}

}  // namespace

std::string solution_of(const Addition& problem, bool forgetful) { return worked(problem, forgetful, -1, 0); }

std::string slipped_solution_of(const Addition& problem, int64_t place, int64_t off) {
  return worked(problem, false, place, off);
}

std::vector<std::string> steps_of(const std::string& solution) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t end; (end = solution.find_first_of(",;", begin)) != std::string::npos; begin = end + 1)
    out.push_back(solution.substr(begin, end + 1 - begin));
  out.push_back(solution.substr(begin));
  return out;
}

std::vector<Addition> draw_additions(int64_t count, int64_t digits, uint64_t seed) {
  int64_t low = 1;
  for (int64_t i = 1; i < digits; ++i) low *= 10;
  uint64_t span = static_cast<uint64_t>(low) * 9;
  if (static_cast<double>(count) > 0.5 * static_cast<double>(span) * static_cast<double>(span))
    bad_input("rft data", "there are too few problems of ", digits, " digits for ", count, " different ones");
  Rng rng(seed);
  std::set<std::pair<int64_t, int64_t>> seen;
  std::vector<Addition> out;
  for (uint64_t at = 0; static_cast<int64_t>(out.size()) < count; at += 2) {
    Addition problem{low + static_cast<int64_t>(rng.below(at, span)),
                     low + static_cast<int64_t>(rng.below(at + 1, span))};
    if (seen.insert({problem.a, problem.b}).second) out.push_back(problem);
  }
  return out;
}

}  // namespace rft::app
