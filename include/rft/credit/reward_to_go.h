#pragma once
/// What is still to come: discounted rewards from each decision on, whitened over the batch (REINFORCE++, Hu et al.
/// 2025, arXiv:2501.03262).
///
///   r_t = reward_t - kl_weight k_t  (a reward [B] stands at the row's last decision, one [B, T] as it is given)
///   G_t = r_t + gamma G_t+1, t + 1 the row's next decision;  A_t = G_t - baseline
/// baseline: none, or the mean of the group's rewards (REINFORCE++-baseline). With `whiten`, (A - mean) / sqrt(var +
/// 1e-8) over all decisions of the batch, var with n - 1. form min (PURE's min-form credit, Cheng et al. 2025,
/// arXiv:2504.15275) first replaces the process rewards of a row by
///   r_t e^(-r_t / temperature) / sum_s e^(-r_s / temperature),  s over the decisions whose reward is not 0
/// so that a row is worth about its worst step. reward_clip comes before the KL. A row with a NaN reward is left out
/// and gets A = 0.
#include <string>

#include "rft/credit/credit.h"
#include "rft/credit/reward_options.h"

namespace rft {

class RewardToGo : public Credit {
 public:
  struct Options : RewardOptions {
    double gamma = 1;
    std::string baseline = "none";
    std::string form = "sum";
    double temperature = 0.1;
    bool whiten = true;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where reward_clip is not [low, high].
  explicit RewardToGo(Options options);
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

}  // namespace rft
