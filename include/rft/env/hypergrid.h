#pragma once
/// The hypergrid on which GFlowNets are measured (Bengio et al. 2021, arXiv:2106.04399): a walk from a corner that adds
/// one to a coordinate at a time, until it stops; where it stops is the object, and the reward is the object's.
#include "rft/core/options.h"
#include "rft/env/flat_world.h"

namespace rft {

/// Choice d < dimensions adds one to coordinate d, the last choice stops. Observed are the coordinates, one-hot
/// [dimensions * side], and which choices are allowed [dimensions + 1]. The reward comes at the stop:
///   R(x) = base + edge * prod_d [0.25 < |x_d / (side - 1) - 0.5|] + peak * prod_d [0.3 < |x_d / (side - 1) - 0.5| <
///   0.4]
class Hypergrid : public FlatWorld, public Reversible, public Makes {
 public:
  struct Options {
    int64_t dimensions = 2, side = 8;
    double base = 0.1, edge = 0.5, peak = 2;
    void visit(OptionVisitor& v);
  };
  explicit Hypergrid(Options options);
  Tensor render(int64_t height, int64_t width) const override;
  double backward_logp() const override { return backward_logp_; }
  /// A name is the coordinates, one-hot.
  int64_t name_size() const override { return options_.dimensions * options_.side; }
  void name_made(std::span<double> name) const override;
  void name_any(uint64_t seed, std::span<double> name) const override;
  /// R of an object, [dimensions] coordinates.
  double reward_of(std::span<const double> x) const;

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool advance(std::span<const double> action, std::span<double> reward) override;

 private:
  Options options_;
  double backward_logp_ = 0;
};

}  // namespace rft
