#pragma once
/// Implicit Q-learning (Kostrikov et al. 2021, arXiv:2110.06169), from decisions (s, a, r, s') that were seen, never
/// asking the critics of others. With K critics Q, slow copies Q', a value V and L2_e(u) = |e - [u < 0]| u^2:
///   value_loss  = mean L2_expectile(min_k Q'_k(s, a) - V(s))                      trains V
///   critic_loss = mean mean_k (Q_k(s, a) - (r + gamma (1 - terminated) V(s')))^2  trains the critics
///   actor_loss  = -mean min(exp(beta (min_k Q'_k(s, a) - V(s))), cap) log p(a)    trains the policy
/// Means are over the decisions of the whole optimizer batch that the mask keeps.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Iql : public Objective {
 public:
  struct Options {
    double gamma = 0.99, tau = 0.005, expectile = 0.7, beta = 3, advantage_cap = 100;
    int64_t critics = 2;
    void visit(OptionVisitor& v);
  };
  explicit Iql(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
