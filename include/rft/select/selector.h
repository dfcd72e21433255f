#pragma once
/// Selector: which rows to learn from, and whether to draw more.
#include <vector>

#include "rft/core/experience.h"
#include "rft/core/metrics.h"
#include "rft/core/state.h"

namespace rft {

/// Called by the trainer after credit, on the training thread, with whole groups.
class Selector : public Stateful {
 public:
  virtual Needs needs() const { return {}; }
  /// How many answers each of the contexts that come next gets, `rows` being their numbers in the dataset; their sum is
  /// at most `answers`. Empty: as many for each.
  virtual std::vector<int64_t> allocate(const std::vector<int64_t>& rows, int64_t answers) {
    (void)rows, (void)answers;
    return {};
  }
  /// [K] int64: the rows of `batch` to learn from, in order. May be empty.
  virtual Tensor select(const Experience& batch, Metrics& metrics) = 0;
  /// Whether the right answers of a group that select() keeps rows of are all kept: what is known of a row by these can
  /// then be computed after it, of fewer rows.
  virtual bool whole_groups() const { return false; }
  /// How many rows remain of a rollout of `rows` when nothing unusual happens (best-of-n keeps one a group).
  virtual int64_t expected_rows(int64_t rows, int64_t group_size) const {
    (void)group_size;
    return rows;
  }
  /// How many further rollouts may be drawn when select() kept fewer rows than expected_rows(); 0 = learn from what
  /// there is.
  virtual int64_t extra_rollouts() const { return 0; }
};

}  // namespace rft
