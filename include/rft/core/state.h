#pragma once
/// What must survive a stop for a resumed run to be exact: running statistics, replay, curricula, moving averages.
#include <map>
#include <string>

#include "rft/core/tensor.h"

namespace rft {

/// Named tensors of any shape.
using State = std::map<std::string, Tensor>;

class Stateful {
 public:
  virtual ~Stateful() = default;
  /// Called at a step's boundary, on the training thread. The tensors are copied before the next step.
  virtual State state() const { return {}; }
  /// Called before the first step of a resumed run, with what state() gave. Throws UserError where it does not fit.
  virtual void load_state(const State& state) { (void)state; }
};

}  // namespace rft
