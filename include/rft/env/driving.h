#pragma once
/// A small planar driving scene: vehicles meet at a crossing of two roads, and one policy moves them all, so that a
/// chunk of its actions is a joint future of the scene, as Gen-Drive generates them (Huang et al. 2024,
/// arXiv:2410.05582).
#include "rft/core/options.h"
#include "rft/env/flat_world.h"

namespace rft {

/// Every vehicle comes along an arm of the crossing of its own, on the right, and wants to leave along another one. The
/// policy observes of every vehicle where it is [2, m], its heading [cos, sin], its speed [m/s], the way to its goal
/// [2, m] and whether it has crashed, and of every two of them the gap between them [m, at most 10]. It acts by every
/// vehicle's acceleration and yaw rate, each in [-1, 1] of the most there is, for half a second. Vehicles that touch
/// crash and stay where they are. Paid are, as means over the vehicles: the metres that they came nearer to their goals
/// times progress_weight, less collision_cost for each that crashes, less off_road_cost for each that is off the road.
class Driving : public FlatWorld {
 public:
  struct Options {
    int64_t vehicles = 4, max_steps = 8;
    double progress_weight = 0.1, collision_cost = 4, off_road_cost = 0.5;
    void visit(OptionVisitor& v);
  };
  /// What a step lasts, and what an action of 1 is.
  static constexpr double step_seconds = 0.5, acceleration = 4, yaw_rate = 1.5;  ///< s, m/s^2, rad/s
  static constexpr int64_t seen = 8;  ///< numbers that are observed of a vehicle, one after another

  explicit Driving(Options options);
  /// The roads, the vehicles and where they came from.
  Tensor render(int64_t height, int64_t width) const override;

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool advance(std::span<const double> action, std::span<double> reward) override;

 private:
  struct Vehicle {
    double x, y, heading, speed, goal_x, goal_y, crashed;
  };
  Vehicle vehicle(int64_t i) const;
  void set(int64_t i, const Vehicle& vehicle);
  double gap(int64_t i, int64_t j) const;
  void move(std::span<const double> action, double seconds);
  double crash();
  void remember();
  const double* trail(int64_t i, int64_t k) const;
  double* trail(int64_t i, int64_t k);

  Options options_;
};

}  // namespace rft
