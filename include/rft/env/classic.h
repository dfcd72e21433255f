#pragma once
/// Gymnasium's classic control tasks: the same dynamics, rewards and ends, observed in double precision.
#include "rft/core/options.h"
#include "rft/env/flat_world.h"

namespace rft {

/// CartPole-v1: a cart moves left or right so that its pole stays up (Barto et al. 1983).
class CartPole : public FlatWorld {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit CartPole(Options);
  Tensor render(int64_t height, int64_t width) const override;

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool advance(std::span<const double> action, std::span<double> reward) override;
};

/// MountainCarContinuous-v0: an engine too weak for the slope gets a car up a hill by rocking it (Moore 1990). Help is
/// a second engine (`force` 1: as strong as its own), and a slope that pulls less by `slack`.
class MountainCar : public FlatWorld, public Assisted {
 public:
  struct Options {
    double goal_velocity = 0;
    void visit(OptionVisitor& v);
  };
  explicit MountainCar(Options options);
  Tensor render(int64_t height, int64_t width) const override;
  int64_t force_size() const override { return 1; }
  void assist(std::span<const double> force, double slack) override { force_ = force[0], slack_ = slack; }

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool advance(std::span<const double> action, std::span<double> reward) override;

 private:
  Options options_;
  double force_ = 0, slack_ = 0;
};

/// Pendulum-v1: a torque swings a pendulum up and holds it there. Help is a second torque (`force` 1: as strong as the
/// strongest of its own), and gravity that is less by `slack`.
class Pendulum : public FlatWorld, public Assisted {
 public:
  struct Options {
    double gravity = 10;
    void visit(OptionVisitor& v);
  };
  explicit Pendulum(Options options);
  Tensor render(int64_t height, int64_t width) const override;
  int64_t force_size() const override { return 1; }
  void assist(std::span<const double> force, double slack) override { force_ = force[0], slack_ = slack; }

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool advance(std::span<const double> action, std::span<double> reward) override;

 private:
  Options options_;
  double force_ = 0, slack_ = 0;
};

/// Acrobot-v1: torques at the elbow of two links swing their end above a line (Sutton 1996).
class Acrobot : public FlatWorld {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit Acrobot(Options);
  Tensor render(int64_t height, int64_t width) const override;

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool advance(std::span<const double> action, std::span<double> reward) override;
};

}  // namespace rft
