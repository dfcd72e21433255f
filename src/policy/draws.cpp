#include "policy/draws.h"

#include <ATen/ATen.h>

#include "rft/core/extra.h"
#include "rft/core/rng.h"

namespace rft {

std::vector<uint64_t> draw_keys(const Tensor& draw, int64_t column) {
  Tensor keys = draw.select(1, column).contiguous();
  const int64_t* begin = keys.const_data_ptr<int64_t>();
  return {begin, begin + keys.numel()};
}

std::vector<uint64_t> draw_keys(const Experience& batch, int64_t column) {
  if (Tensor draw = batch.extra.find(extra::draw); draw.defined()) return draw_keys(draw, column);
  std::vector<uint64_t> out;
  for (int64_t i = 0; i < batch.rows(); ++i) out.push_back(mix(static_cast<uint64_t>(column) + 1, i));
  return out;
}

Tensor group_draws(uint64_t seed, int64_t groups, int64_t group_size, bool shared, int64_t first_group) {
  if (!shared) return group_draws(seed, groups * group_size, 1, true, first_group * group_size);
  Tensor out = at::empty({groups, 2}, at::kLong);
  for (int64_t i = 0; i < groups; ++i)
    for (uint64_t column : {0u, 1u})
      out.data_ptr<int64_t>()[2 * i + static_cast<int64_t>(column)] =
          static_cast<int64_t>(mix(mix(seed, column + 1), static_cast<uint64_t>(first_group + i)) >> 1);
  return out.repeat_interleave(group_size, 0);
}

std::vector<uint64_t> row_keys(uint64_t seed, int64_t first, int64_t rows) {
  std::vector<uint64_t> keys;
  for (int64_t i = 0; i < rows; ++i) keys.push_back(mix(seed, static_cast<uint64_t>(first + i)));
  return keys;
}

int64_t draw_between(int64_t low, int64_t high, int64_t version, uint64_t use) {
  return low + static_cast<int64_t>(Rng(static_cast<uint64_t>(version), use).below(0, high - low + 1));
}

}  // namespace rft
