#pragma once
/// How likely an answer is to win against others to the same context:
///   A_i = mean over opponents j of P(i beats j) - 1/2,  P = s((R_i - R_j) / temperature), a Bradley-Terry model of
///   rewards
/// with s the logistic function; temperature 0: 1 where R_i > R_j, 1/2 where they are equal, else 0. What counts is who
/// is better, not by how much. Opponents:
///   others  the group's other rows: regularised self-play
///   given   its rows that the policy did not make (extra::given; rollout.reference_answers): Nash learning from human
///           feedback (Nash-MD, Munos et al. 2023, arXiv:2312.00886; its policy gradient is objective reinforce with
///           kl_estimator k2, select own_answers), whose opponents are a geometric mixture of policy and reference
///           (rollout.reference_mixture)
///   one     the group's first row that has a reward, as good a draw as any: bootstrapped relative policy optimisation
///           (BRPO, Jia et al. 2025, arXiv:2506.00103, with temperature 0)
/// R is the reward after RewardOptions. A row without a reward (NaN), an opponent of `given`, `one`'s reference and a
/// row without opponents get A = 0. The same advantage stands at every decision of a row. Metric: win_rate, the mean of
/// A + 1/2 over the rows that had an opponent.
#include <string>

#include "rft/credit/credit.h"
#include "rft/credit/reward_options.h"
#include "rft/ops/groups.h"

namespace rft {

class WinRate : public Credit {
 public:
  struct Options : RewardOptions {
    std::string against = "others";
    double temperature = 1;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where reward_clip is not [low, high].
  explicit WinRate(Options options);
  Needs needs() const override;
  /// Throws RunError where `given` is asked for and the batch has no answers of others.
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Tensor opponents(const Experience& batch, const Tensor& reward, const ops::Groups& groups) const;
  Options options_;
};

}  // namespace rft
