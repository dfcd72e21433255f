#pragma once
/// Trains a reward model of steps (PRM; Lightman et al. 2023, arXiv:2305.20050), as TRL's PRMTrainer.
///
///   loss = -(1/N) sum m (y log s(x) + (1 - y) log s(-x))
/// x = Evaluation::score [B, T] of the step that ends at a decision, y = extra::step_label, 1 good, 0 bad, anything
/// between for soft labels; s the logistic function. With a two-class head x is the difference of the logits, and the
/// loss the cross-entropy of TRL's. N = labelled steps of the whole optimizer batch (the mask holds these alone;
/// totals.tokens, over ranks summed). Metrics, means over steps: accuracy (x on the side of y, one half counting as
/// good), mean_reward (s(x)).
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class ProcessReward : public Objective {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit ProcessReward(Options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
};

}  // namespace rft
