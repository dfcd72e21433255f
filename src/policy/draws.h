#pragma once
/// Keys of the random numbers of an evaluation, and what else is drawn once a batch.
#include <cstdint>
#include <vector>

#include "rft/core/experience.h"

namespace rft {

/// Column `column` of extra::draw [B, 2]: the keys of the rows' random numbers.
std::vector<uint64_t> draw_keys(const Tensor& draw, int64_t column);
/// Keys of the group (column 0) or of the row (1) from extra::draw; without it row i draws as row i.
std::vector<uint64_t> draw_keys(const Experience& batch, int64_t column);
/// extra::draw [groups * group_size, 2] of a rollout that is judged as demonstrations are. `shared`: the rows of a
/// group (their numbers start at `first_group`) have all their numbers in common, so that what is compared within it
/// differs by the samples alone.
Tensor group_draws(uint64_t seed, int64_t groups, int64_t group_size, bool shared = true, int64_t first_group = 0);
/// Keys of the rows first .. first + rows - 1 of a sampling run.
std::vector<uint64_t> row_keys(uint64_t seed, int64_t first, int64_t rows);
/// Uniform in low .. high, by the optimizer steps taken and what it is for.
int64_t draw_between(int64_t low, int64_t high, int64_t version, uint64_t use);

}  // namespace rft
