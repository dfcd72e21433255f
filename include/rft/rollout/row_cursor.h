#pragma once
/// Which rows come next: every row once an epoch, in an order that depends on the seed and the epoch alone.
#include <cstdint>
#include <vector>

namespace rft {

class RowCursor {
 public:
  RowCursor(int64_t rows, bool shuffle, uint64_t seed) : rows_(rows), shuffle_(shuffle), seed_(seed) {}

  /// The next `count` row indices; epochs follow each other without a gap.
  std::vector<int64_t> next(int64_t count);
  /// Rows handed out so far, over all epochs: all there is to save.
  int64_t position() const { return position_; }
  void set_position(int64_t position) { position_ = position; }
  double epoch() const { return static_cast<double>(position_) / static_cast<double>(rows_); }

 private:
  int64_t rows_;
  bool shuffle_;
  uint64_t seed_;
  int64_t position_ = 0;
  int64_t ordered_epoch_ = -1;
  std::vector<int64_t> order_;
};

/// 0 .. n-1 in a seeded random order.
std::vector<int64_t> permutation(int64_t n, uint64_t seed);

}  // namespace rft
