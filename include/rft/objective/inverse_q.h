#pragma once
/// Inverse soft Q-learning from demonstrations (IQ-Learn, Garg et al. 2021, arXiv:2106.12142; of language models
/// Wulfmeier et al. 2024, arXiv:2409.01369): maximum likelihood, and a soft Q-function that is consistent along each
/// answer, whose temporal differences are the rewards that would explain it.
///
///   Q_t = V_t + logp_t,  r_t = Q_t - gamma V_{t+1},  V after a row's last decision = 0
///   nll = -(1/N) sum m logp,  consistency = td_weight (1/N) sum m r^2
/// A soft Q-function and a pair (policy, V) are the same thing, V the logarithm of the sum of e^Q; here the policy is
/// the model and V its critic (Evaluation::value), where the paper reads both from the logits. The next decision is the
/// row's next one under the mask, so tool output between two is passed over. N = tokens of the whole optimizer batch
/// (totals.tokens, over ranks summed). Metrics, means over tokens: mean_token_nll, implied_reward (r), value (V);
/// entropy where it was computed.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class InverseQ : public Objective {
 public:
  struct Options {
    double td_weight = 0.1;
    double gamma = 1;
    void visit(OptionVisitor& v);
  };
  explicit InverseQ(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
