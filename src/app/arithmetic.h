#pragma once
/// The quick start's task: column addition with a worked solution, whose answer can be checked.
#include <string>
#include <vector>

#include "rft/core/rng.h"

namespace rft::app {

struct Addition {
  int64_t a, b;
};

/// "348+275="
std::string prompt_of(const Addition& problem);
/// "8+5=13,4+7+1=12,3+2+1=6;623": column by column from the right, then the sum. `forgetful` leaves out the carries,
/// and so comes to a wrong sum wherever there was one.
std::string solution_of(const Addition& problem, bool forgetful);
/// The same with the carries, but with the column at `place` (0: the ones) counted wrong by `off`, in 1 .. 19.
std::string slipped_solution_of(const Addition& problem, int64_t place, int64_t off);
/// The steps of a solution with the sign that ends each: "8+5=13,", "4+7+1=12,", "3+2+1=6;", "623".
std::vector<std::string> steps_of(const std::string& solution);
/// `count` different problems of `digits`-digit numbers, in seeded order.
std::vector<Addition> draw_additions(int64_t count, int64_t digits, uint64_t seed);

}  // namespace rft::app
