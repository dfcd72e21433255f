#pragma once
/// Deep Q-learning of choices (Mnih et al. 2015, doi:10.1038/nature14236; Stable-Baselines3's DQN), from decisions (s,
/// a, r, s') that any policy made. With the network Q and its slow copy Q':
///   y = r + gamma (1 - terminated) Q'(s', a'),  a' = argmax Q (double_q: van Hasselt et al. 2016, arXiv:1509.06461)
///                                               or argmax Q' at s'
///   critic_loss = mean h(Q(s, batch's action) - y),  h(x) = x^2 / 2 within +-1 and |x| - 1/2 beyond   (Huber's)
/// The mean is over the decisions of the whole optimizer batch that the mask keeps. For policies that decide by what
/// they expect of each choice (q_network).
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Dqn : public Objective {
 public:
  struct Options {
    double gamma = 0.99, tau = 1;
    int64_t target_every = 500;
    bool double_q = true;
    void visit(OptionVisitor& v);
  };
  explicit Dqn(Options options) : options_(options) {}
  Needs needs() const override;
  /// Throws UserError where the batch's actions are numbers, not choices.
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
