#include "rft/rollout/row_cursor.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "rft/core/rng.h"

namespace rft {

std::vector<int64_t> permutation(int64_t n, uint64_t seed) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  Rng rng(seed);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[rng.below(i, i + 1)]);
  return order;
}

RowCursor::RowCursor(std::vector<int64_t> sizes, std::vector<double> weights, bool shuffle, uint64_t seed)
    : shuffle_(shuffle) {
  double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (size_t i = 0; i < sizes.size(); ++i) {
    parts_.push_back({rows_, sizes[i], weights[i] / sum, i == 0 ? seed : mix(seed, i)});
    rows_ += sizes[i];
  }
}

/// The one that is furthest behind its share.
RowCursor::Part& RowCursor::next_part() {
  auto behind = [&](const Part& part) {
    return part.share * static_cast<double>(position_ + 1) - static_cast<double>(part.drawn);
  };
  return *std::max_element(parts_.begin(), parts_.end(),
                           [&](const Part& a, const Part& b) { return behind(a) < behind(b); });
}

int64_t RowCursor::next_of(Part& part) {
  int64_t epoch = part.drawn / part.size, at = part.drawn % part.size;
  ++part.drawn;
  if (!shuffle_) return part.first + at;
  if (epoch != part.ordered_epoch)
    part.order = permutation(part.size, mix(part.seed, epoch)), part.ordered_epoch = epoch;
  return part.first + part.order[at];
}

std::vector<int64_t> RowCursor::next(int64_t count) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i, ++position_) out.push_back(next_of(next_part()));
  return out;
}

void RowCursor::set_position(int64_t position) {
  for (Part& part : parts_) part.drawn = 0;
  for (position_ = 0; position_ < position; ++position_) ++next_part().drawn;
}

}  // namespace rft
