#pragma once
/// Ragged rows laid end to end, and padded for the products that want a rectangle.
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// P segments of at least one token each; T is the longest, N the tokens of all.
class Segments {
 public:
  Segments() = default;
  explicit Segments(const std::vector<int64_t>& lengths);

  int64_t count() const { return count_; }
  int64_t longest() const { return longest_; }
  /// x [N, ...] -> [P, T, ...]. Padding repeats a segment's last token; it must get no gradient.
  Tensor pad(const Tensor& x) const;
  /// x [P, T, ...] -> [N, ...]: what stands in the padding is dropped.
  Tensor unpad(const Tensor& x) const;
  /// [P, T] bool, true at the padding; undefined where there is none.
  const Tensor& beyond() const { return beyond_; }

 private:
  int64_t count_ = 0, longest_ = 0;
  Tensor padded_;  ///< [P * T] int64: the token of each cell
  Tensor owner_;   ///< [P * T] int64: the same, but -1 for padding
  Tensor packed_;  ///< [N] int64: the cell of each token
  Tensor beyond_;
};

}  // namespace rft
