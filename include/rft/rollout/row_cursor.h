#pragma once
/// Which rows come next: every row once an epoch, in an order that depends on the seed and the epoch alone; or parts of
/// the rows in given shares, each part's every row once before any again.
#include <cstdint>
#include <vector>

namespace rft {

class RowCursor {
 public:
  RowCursor(int64_t rows, bool shuffle, uint64_t seed) : RowCursor({rows}, {1.0}, shuffle, seed) {}
  /// Rows in parts of these `sizes`, one after another; of any stretch of n draws a part has n * weight / sum of
  /// weights, to within one.
  RowCursor(std::vector<int64_t> sizes, std::vector<double> weights, bool shuffle, uint64_t seed);

  /// The next `count` row indices; epochs follow each other without a gap.
  std::vector<int64_t> next(int64_t count);
  /// Rows handed out so far, over all epochs: all there is to save.
  int64_t position() const { return position_; }
  void set_position(int64_t position);
  /// Epochs so far, without the last `but` rows.
  double epoch(int64_t but = 0) const { return static_cast<double>(position_ - but) / static_cast<double>(rows_); }

 private:
  struct Part {
    int64_t first, size;
    double share;
    uint64_t seed;
    int64_t drawn = 0;
    int64_t ordered_epoch = -1;
    std::vector<int64_t> order = {};
  };
  Part& next_part();
  int64_t next_of(Part& part);

  std::vector<Part> parts_;
  int64_t rows_ = 0;
  bool shuffle_;
  int64_t position_ = 0;
};

/// 0 .. n-1 in a seeded random order.
std::vector<int64_t> permutation(int64_t n, uint64_t seed);

}  // namespace rft
