#pragma once
/// How much an episode goes like those that were shown: the cost of moving what was observed onto what was observed
/// there, by entropic optimal transport (Cuturi 2013, arXiv:1306.0895), decision by decision, as RAPL rewards robots
/// for it (Tian et al. 2024, arXiv:2310.07932):
///   r_t = -scale sum_j P_tj C_tj,   P = argmin over plans with uniform margins of <P, C> - epsilon H(P),
/// of the demonstration that is nearest (whose <P, C> is least).
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/io/rows.h"
#include "rft/reward/reward_model.h"

namespace rft {

class OptimalTransport : public RewardModel {
 public:
  struct Options {
    std::string demonstrations, cost = "cosine";
    std::vector<double> features;
    double epsilon = 0.05, scale = 1;
    int64_t iterations = 200;
    bool standardize = true;
    void visit(OptionVisitor& v);
  };
  /// Loads the demonstrations; they are read when the first episode says how much is observed. Both throw UserError
  /// naming file and line.
  explicit OptimalTransport(Options options);
  /// Reads extra::raw_observation [B, T, D] and last: every row is one whole episode. Value [B, T], 0 where masked.
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  void read(int64_t observation);
  Tensor features_of(const Tensor& observations) const;
  Options options_;
  Rows rows_;
  std::vector<Tensor> shown_;  ///< [S, F] float64 each
  Tensor mean_, deviation_;    ///< [F], of all that was shown
};

/// The plan [T, S] that moves uniform weights onto uniform weights at the cost [T, S], and how far its margins are off
/// after so many iterations.
struct TransportPlan {
  Tensor plan;
  double error = 0;
};
TransportPlan sinkhorn(const Tensor& cost, double epsilon, int64_t iterations);

}  // namespace rft
