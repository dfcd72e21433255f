#pragma once
/// Episodes that show what to do.
#include <vector>

#include "rft/core/action_space.h"
#include "rft/core/tensor.h"

namespace rft {

class Rows;

/// L decisions of one episode.
struct Demonstrated {
  Tensor observation;  ///< [L, D] float64
  Tensor action;       ///< [L, action.size()] float32, or int64 where an action is one of several choices
};

/// Every row's {"observations": [[..], ..], "actions": [[..], ..]}, one observation for every action or one more. With
/// chunks of n actions a decision is what was done at an observation and n - 1 steps on; those that would reach beyond
/// the episode's end are left out. Throws UserError naming the row that does not fit `world`.
std::vector<Demonstrated> read_demonstrations(const Rows& rows, const EnvironmentSpec& world);

}  // namespace rft
