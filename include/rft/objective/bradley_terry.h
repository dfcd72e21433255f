#pragma once
/// The Bradley-Terry model of preferences (1952, doi:10.2307/2334029), which trains a reward model from pairs (Ouyang
/// et al. 2022, arXiv:2203.02155), as TRL 1.16's RewardTrainer.
///
///   loss = mean over pairs of -log s(r_w - r_l - margin) + center_weight (r_w + r_l)^2
/// r_w, r_l = Evaluation::score [B] of the chosen and the rejected answer; s the logistic function; margin =
/// extra::margin [B], how much better the chosen answer was found (Llama 2, arXiv:2307.09288), 0 where the batch has
/// none. The second term holds the scores around 0 (Eisenstein et al. 2023, arXiv:2312.09244).
/// Pairs are counted over the whole optimizer batch, totals.rows / 2; over ranks, `totals` are summed.
/// Metrics, means over pairs: accuracy (chosen above rejected), margin (r_w - r_l), mean_reward.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class BradleyTerry : public Objective {
 public:
  struct Options {
    double center_weight = 0;
    void visit(OptionVisitor& v);
  };
  explicit BradleyTerry(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
