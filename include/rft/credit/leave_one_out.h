#pragma once
/// Leave-one-out advantages (RLOO, Ahmadian et al. 2024, arXiv:2402.14740), as TRL 1.16's RLOOTrainer:
/// A_i = R_i - mean of the other rows of the group, R the reward after reward_clip and less kl_weight times the row's
/// summed KL; with `normalize`, (A - mean A) / (std A + 1e-4) over all rows. A NaN reward is left out and gets A = 0,
/// as does the only valid row of a group. The same advantage stands at every decision of a row.
#include "rft/credit/credit.h"
#include "rft/credit/reward_options.h"

namespace rft {

class LeaveOneOut : public Credit {
 public:
  struct Options : RewardOptions {
    Options() { kl_weight = 0.05; }
    bool normalize = false;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where reward_clip is not [low, high].
  explicit LeaveOneOut(Options options);
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

}  // namespace rft
