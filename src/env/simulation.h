#pragma once
/// MuJoCo's simulation of one robot (Todorov et al. 2012); the one place that sees MuJoCo's headers is simulation.cpp.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

class Simulation {
 public:
  /// `model`: an XML file, or the name of one that Gymnasium ships ("hopper.xml"). Throws UserError where it doesn't
  /// load, or where rft was built without MuJoCo.
  Simulation(const std::string& model, int64_t frame_skip);
  ~Simulation();

  int64_t actuators() const;
  /// Bounds of actuator i.
  double low(int64_t i) const;
  double high(int64_t i) const;
  int64_t bodies() const;
  /// Seconds of one step().
  double dt() const;

  std::span<double> qpos();
  std::span<double> qvel();
  std::span<const double> qpos() const;
  std::span<const double> qvel() const;
  std::span<const double> initial_qpos() const;
  /// A body's number. Throws UserError where the model has none of this name.
  int64_t body(const std::string& name) const;
  /// Where a body is, [3] metres; as of the last substep's start, as MuJoCo keeps it.
  std::span<const double> position(int64_t body) const;
  /// External forces on all bodies, [bodies * 6] torque and force; of the last step() after watch_contact_forces(),
  /// else zero.
  std::span<const double> contact_forces() const;
  void watch_contact_forces();

  /// Everything as at the start, then kinematics after the caller has changed qpos and qvel.
  void reset();
  void forward();
  /// In every step() from now on `force` [3] times the robot's weight pulls at the first body, and gravity at all of
  /// them by a share of `lift` less.
  void assist(std::span<const double> force, double lift);
  /// Holds `action` [actuators()] for frame_skip substeps. Throws RunError where the simulation breaks down.
  void step(std::span<const double> action);

  /// What the model's first camera sees, [3, height, width] in [0, 1].
  Tensor render(int64_t height, int64_t width) const;

  std::vector<double> state() const;
  void set_state(const std::vector<double>& state);

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace rft
