#pragma once
/// Policies whose layers several processes can share (tensor parallelism).
#include "rft/dist/weight_part.h"
#include "rft/policy/policy.h"

namespace rft {

class DividesWeights {
 public:
  virtual ~DividesWeights() = default;
  /// After prepare(), before parameters(): from now on this process has its part of the weights, and whatever samples
  /// or judges is collective in `group`, which the caller keeps. All get the same numbers. Throws UserError where the
  /// policy, as it is set up, can't be divided, or gives what `needs` names only as a whole.
  virtual void divide(Communicator& group, const Needs& needs) = 0;
  /// Of the parameters, by their names in Policy::parameters(), those of which this process has a part.
  virtual std::map<std::string, WeightPart> weight_parts() const = 0;
  /// Before Policy::save() of whole weights; collective. Only who is to `keep` them may save.
  virtual void gather_whole(bool keep) = 0;
};

}  // namespace rft
