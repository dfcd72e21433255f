#pragma once
/// FlatWorld: an environment whose whole state is a few numbers, and that draws itself in the plane.
#include <vector>

#include "rft/env/environment.h"

namespace rft {

class Draws;

class FlatWorld : public Environment, public Rendered {
 public:
  const EnvironmentSpec& spec() const override { return spec_; }
  void reset(uint64_t seed, std::span<double> observation) override;
  bool step(std::span<const double> action, std::span<double> observation, std::span<double> reward) override;
  std::vector<double> state() const override { return now_; }
  void set_state(const std::vector<double>& state) override;

 protected:
  FlatWorld(EnvironmentSpec spec, size_t numbers) : spec_(std::move(spec)), now_(numbers) {}
  /// Writes now_ for a new episode.
  virtual void place(Draws& draws) = 0;
  virtual void observe(std::span<double> out) const = 0;
  /// Moves now_, writes the rewards and returns whether the episode has ended.
  virtual bool advance(std::span<const double> action, std::span<double> reward) = 0;

  EnvironmentSpec spec_;
  std::vector<double> now_;  ///< the state
};

}  // namespace rft
