#pragma once
/// Rewards of rows, and their statistics over the rows that answer the same context.
#include "rft/core/experience.h"

namespace rft::ops {

/// A partition of B rows by arbitrary int64 numbers, in any order and of any size. Values are [B] floating tensors in
/// which NaN stands for "could not be computed" and is left out of every statistic.
class Groups {
 public:
  /// group [B] int64.
  explicit Groups(const Tensor& group);

  int64_t count() const { return count_; }
  /// [B] int64 in [0, count): the group of each row; groups are numbered by increasing number.
  const Tensor& index() const { return index_; }

  /// Each row's group value, [B]. Sums of nothing are 0, means of nothing NaN.
  Tensor size() const;                  ///< rows in the group, NaN ones too
  Tensor valid(const Tensor& x) const;  ///< rows of the group whose x is not NaN
  Tensor sum(const Tensor& x) const;
  Tensor mean(const Tensor& x) const;
  Tensor deviation(const Tensor& x) const;  ///< sample standard deviation (n - 1); 0 for fewer than two values

 private:
  Tensor index_;
  int64_t count_ = 0;
};

/// The mean [] of the values that are not NaN; NaN where there are none.
Tensor nan_mean(const Tensor& x);
/// The sample standard deviation (n - 1) [] of the values that are not NaN; 0 for fewer than two.
Tensor nan_deviation(const Tensor& x);

/// [B] float64: each row's reward, NaN = could not be computed. A reward [B, T] is summed under the mask; a
/// NaN counts in a row without decisions too. Throws RunError where the batch has no reward.
Tensor row_rewards(const Experience& batch);

}  // namespace rft::ops
