#include "rft/env/flat_world.h"

#include <cmath>

#include "env/draws.h"
#include "rft/core/error.h"

namespace rft {

void FlatWorld::reset(uint64_t seed, std::span<double> observation) {
  Draws draws(seed);
  place(draws);
  observe(observation);
}

bool FlatWorld::step(std::span<const double> action, std::span<double> observation, std::span<double> reward) {
  bool ended = advance(action, reward);
  for (double x : now_)
    if (!std::isfinite(x)) run_failed(spec_.name, "the state holds ", x);
  observe(observation);
  return ended;
}

void FlatWorld::set_state(const std::vector<double>& state) {
  if (state.size() != now_.size())
    bad_input(spec_.name, "a state of this world has ", now_.size(), " numbers; got ", state.size());
  now_ = state;
}

}  // namespace rft
