#pragma once
/// Preferences without a reference: CPO (Xu et al. 2024, arXiv:2401.08417), SimPO (Meng et al. 2024, arXiv:2405.14734)
/// and AlphaPO (Gupta et al. 2025, arXiv:2501.03884), as TRL 1.16's CPOTrainer, and TPO (Saeidi et al. 2024,
/// arXiv:2405.16681) as its TPOTrainer.
///
/// Of each pair: w, l = log-probabilities of the chosen and the rejected answer, summed over their tokens (sigmoid,
/// hinge) or their means (ipo, simpo); with alpha not 0, w and l are replaced by (1 - e^(-alpha w)) / alpha. d = w - l,
/// b = beta, e = label_smoothing, s the logistic function.
///   sigmoid  -(1 - e) log s(b d) - e log s(-b d)       simpo  the same of b d - gamma
///   hinge    relu(1 - b d)                              ipo    (d - 1 / (2 b))^2
/// loss = the mean over pairs + nll_weight (the mean negative log-likelihood of all chosen tokens). SimPO of the paper
/// is {variant: simpo, nll_weight: 0}. With `gold` (TPO; variant simpo is its TPO-L) the likelihood is that of a gold
/// answer beside the pair, the row's `completion`: the mean over all gold tokens (totals.given).
/// Pairs and chosen tokens are counted over the whole optimizer batch (totals.rows / 2, totals.chosen), which over
/// ranks are summed. The mask excludes prompt, padding and tool output (TRL's likelihood term has the prompt too).
/// Metrics, means over pairs: rewards/{chosen,rejected,margins,accuracies} (b w, b l), logps/{chosen,rejected}
/// (before alpha); nll_loss; entropy over tokens, where it was computed.
#include <string>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Cpo : public Objective {
 public:
  struct Options {
    std::string variant = "sigmoid";
    double beta = 0.1;
    double label_smoothing = 0;
    double gamma = 0.5;
    double alpha = 0;
    double nll_weight = 1;
    bool gold = false;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where gold answers would not be learned from.
  explicit Cpo(Options options);
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
