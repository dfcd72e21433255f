#pragma once
/// One environment of Worlds, and where its episode stands.
#include <memory>
#include <string>
#include <vector>

#include "rft/rollout/worlds.h"

namespace rft {

struct Worlds::World {
  std::unique_ptr<Environment> environment;
  const Reversible* reversible = nullptr;    ///< `environment`, where it is one
  const Conditioned* conditioned = nullptr;  ///< the same
  Annealed* annealed = nullptr;              ///< the same
  int64_t index = 0;
  std::vector<double> observation, action, reward, returns, discounted;
  std::vector<double> step_reward;   ///< of one of a chunk's actions
  std::vector<double> seen, earned;  ///< [chunk, agents * D], [chunk, agents] of its last decision; or empty
  std::vector<float> memory;         ///< what its agents remember, one after another
  int64_t elapsed = 0, episode = 0, lasted = 0;  ///< steps; `lasted` of the last decision
  bool terminated = false;
  std::string failure;                   ///< of the last step, "" where it went well
  int64_t row = 0, step = 0, began = 0;  ///< where its next decision is recorded; where the episode began there
};

}  // namespace rft
