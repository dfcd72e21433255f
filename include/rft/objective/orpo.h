#pragma once
/// ORPO, odds ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691), as TRL 1.16's ORPOTrainer.
///
/// Of each pair: w, l = mean log-probabilities of the chosen and the rejected answer's tokens; s the logistic function.
///   log_odds = w - l - (log(1 - e^w) - log(1 - e^l))
///   loss = (the mean negative log-likelihood of all chosen tokens) - beta (mean over pairs of log s(log_odds))
/// An answer of probability 1 has infinite odds: w and l are held below -1e-7, where TRL's are not finite. A pair one
/// of whose answers has no tokens adds nothing to the second term, and still counts.
/// Pairs and chosen tokens are counted over the whole optimizer batch (totals.rows / 2, totals.chosen), which over
/// ranks are summed. The mask excludes prompt, padding and tool output (TRL's likelihood term has the prompt too).
/// Metrics, means over pairs: rewards/{chosen,rejected,margins,accuracies} (beta w, beta l), logps/{chosen,rejected},
/// log_odds_chosen, log_odds_ratio (log s of it); nll_loss; entropy over tokens, where it was computed.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Orpo : public Objective {
 public:
  struct Options {
    double beta = 0.1;
    void visit(OptionVisitor& v);
  };
  explicit Orpo(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
