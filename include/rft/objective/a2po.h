#pragma once
/// A*-PO, optimal advantage regression (Brantley et al. 2025, arXiv:2505.20686), as TRL 1.16's A2POTrainer.
///
///   x_i = sum_t m (logp - ref_logp);  loss = (1/R) sum_i (beta x_i - A_i)^2
/// A_i = r_i - V*, the optimal advantage: what the credit `optimal_value` gives, its default; R = rows of the whole
/// optimizer batch (totals.rows, over ranks summed). A row's advantage is its mean over decisions. A row without
/// tokens, and one whose reward is NaN, adds nothing, and still counts. The mask excludes prompt, padding and tool
/// output. Where V* is that of beta too, the optimum is p_ref e^(r / beta) / Z. Metrics, means over rows:
/// implicit_reward (beta x), optimal_advantage (A); entropy over tokens, where it was computed.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class A2po : public Objective {
 public:
  struct Options {
    double beta = 1e-3;
    void visit(OptionVisitor& v);
  };
  explicit A2po(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
