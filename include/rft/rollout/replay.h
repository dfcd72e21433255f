#pragma once
/// Replay: decisions that were made, kept to be learned from again (Lin 1992).
#include <optional>

#include "rft/core/experience.h"
#include "rft/core/options.h"
#include "rft/core/state.h"

namespace rft {

/// The `replay:` part of a recipe's `rollout:` block.
struct ReplayOptions {
  int64_t capacity = 1000000, warmup = 100;
  double updates = 1, given_share = 0.5;
  void visit(OptionVisitor& v);
};

/// A ring of rows of one decision each. Memory for `capacity` rows is reserved at once and used as it fills.
class Replay : public Stateful {
 public:
  explicit Replay(int64_t capacity) : capacity_(capacity) {}
  /// Takes in rows of one decision each; the oldest make room. Rows must have the columns that the first ones had.
  void add(const Experience& decisions);
  int64_t size() const { return size_; }
  /// `rows` of them, each drawn uniformly and independently; `seed` determines which. Throws RunError where it is
  /// empty.
  Experience draw(int64_t rows, uint64_t seed) const;

  State state() const override;
  void load_state(const State& state) override;

 private:
  int64_t capacity_, size_ = 0, next_ = 0;
  State columns_;  ///< [capacity, 1, ...] each, under the names of columns_of()
};

}  // namespace rft
