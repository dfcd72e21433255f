#pragma once
/// PRDP, proximal reward difference prediction (Deng et al. 2024, arXiv:2402.08714): of two answers to one context the
/// policy's log-ratios to the reference are to differ by as much as their rewards do, over beta. The optimum is that of
/// reinforcement learning with a KL penalty of weight beta, and the loss a regression.
///
///   x = sum_t m (logp - ref_logp) of the better answer, y of the worse;  d = (reward difference) / beta
///   x', y' the same with each logp held within `clip` of old_logp
///   loss = the mean over pairs of max((x - y - d)^2, (x' - y' - d)^2);  clip 0: of (x - y - d)^2
/// The reward difference is that of the rows' rewards, or where there are none extra::margin's. A pair one of whose
/// rewards is NaN teaches nothing, and still counts. Pairs are counted over the whole optimizer batch, totals.rows / 2;
/// over ranks, `totals` are summed. The mask excludes prompt, padding and tool output.
/// Metrics, means over pairs: reward_difference (before beta), predicted_difference (beta (x - y)), clip_ratio (pairs
/// in which the clipped loss was the larger); entropy over tokens, where it was computed.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Prdp : public Objective {
 public:
  struct Options {
    double beta = 1;
    double clip = 0;
    void visit(OptionVisitor& v);
  };
  explicit Prdp(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
