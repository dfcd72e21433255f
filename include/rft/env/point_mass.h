#pragma once
/// Points that accelerate to their goals in the plane; with several agents all observe all.
#include "rft/core/options.h"
#include "rft/env/flat_world.h"

namespace rft {

/// An agent observes its velocity [2], the way to its goal [2] and to every other agent [2 each]; acts by an
/// acceleration [2] in [-1, 1]; and is paid -distance to its goal, in metres, every step. With `shared_reward` all are
/// paid the mean of all. `collision_cost` is taken off where two are nearer than their size.
class PointMass : public FlatWorld {
 public:
  struct Options {
    int64_t agents = 1, max_steps = 50;
    double acceleration = 4, drag = 1, control_cost = 0.01, collision_cost = 1;
    bool shared_reward = false;
    void visit(OptionVisitor& v);
  };
  explicit PointMass(Options options);
  Tensor render(int64_t height, int64_t width) const override;

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool advance(std::span<const double> action, std::span<double> reward) override;

 private:
  const double* agent(int64_t i) const { return now_.data() + 6 * i; }  ///< position, velocity, goal
  double* agent(int64_t i) { return now_.data() + 6 * i; }
  Options options_;
};

}  // namespace rft
