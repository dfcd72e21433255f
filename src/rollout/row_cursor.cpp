#include "rft/rollout/row_cursor.h"

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

std::vector<int64_t> RowCursor::next(int64_t count) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i, ++position_) {
    int64_t epoch = position_ / rows_, at = position_ % rows_;
    if (!shuffle_) {
      out.push_back(at);
      continue;
    }
    if (epoch != ordered_epoch_) order_ = permutation(rows_, mix(seed_, epoch)), ordered_epoch_ = epoch;
    out.push_back(order_[at]);
  }
  return out;
}

}  // namespace rft
