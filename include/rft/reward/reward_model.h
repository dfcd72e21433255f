#pragma once
/// RewardModel: what an Experience is worth.
#include <string>
#include <vector>

#include "rft/core/experience.h"
#include "rft/core/state.h"

namespace rft {

/// What a RewardModel says of B rows.
struct Rewards {
  struct Component {
    std::string name;
    Tensor value;  ///< [B] float32, NaN where it could not be computed
    double weight = 1;
  };
  Tensor value;  ///< [B] float32 (or [B, T]), NaN where it could not be computed
  /// A single reward's first component is itself. Others of weight 0, named after it with a slash ("judge/unreadable"),
  /// are reported beside it and no part of the value.
  std::vector<Component> components;
  std::vector<std::string> errors;  ///< empty, or [B] messages; "" where all went well
};

/// May be called from several threads at once, each with its own rows. A row that can't be scored is NaN with a
/// message, never 0; an exception is taken as the failure of all rows.
class RewardModel : public Stateful {
 public:
  /// Reads context.text(extra::completion), the dataset's columns and whatever else it documents.
  virtual Rewards score(const Experience& batch) = 0;
  /// True where what a row is worth depends on no other row, and score() changes no state: several processes then score
  /// a share of the rows each.
  virtual bool per_row() const { return false; }
  /// Text columns of the dataset that must be there ("answer"); checked before any work is done.
  virtual std::vector<std::string> columns() const { return {}; }
};

}  // namespace rft
