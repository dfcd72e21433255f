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

/// Pendulum-v1: a torque swings a pendulum up and holds it there.
class Pendulum : public FlatWorld {
 public:
  struct Options {
    double gravity = 10;
    void visit(OptionVisitor& v);
  };
  explicit Pendulum(Options options);
  Tensor render(int64_t height, int64_t width) const override;

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool advance(std::span<const double> action, std::span<double> reward) override;

 private:
  Options options_;
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
