#pragma once
/// Reward-weighted regression: maximum likelihood of the policy's own samples, each weighted by how good it was (Peters
/// and Schaal 2007, doi:10.1145/1273496.1273590; on images Lee et al. 2023, arXiv:2302.12192). Where the samples are
/// judged by their denoising error (`rollout: {judge: forward}`), it is Flow-RWR (Liu et al. 2025, arXiv:2501.13918)
/// and, with kl_weight, ORW-CFM-W2's bound of a Wasserstein distance to the reference (Fan et al. 2025,
/// arXiv:2502.06061).
///
///   w = min(exp(a / temperature), max_weight),  a = the advantage, or by `weigh: reward` the reward
///   policy_loss = -(1/N) sum_it m_it w_it logp_it,  N = decisions of the whole optimizer batch (batch.totals.tokens)
///   kl_penalty = kl_weight (1/N) sum_it m_it mean (answer - reference's answer)^2
/// With a critic (value_weight, critic_options.h; credit gae) it is advantage-weighted regression (Peng et al. 2019,
/// arXiv:1910.00177), and of an actor's chains that are judged so (`policy: {judge: forward}`) AC-Flow's
/// critic-weighted flow matching (Fan et al. 2025, arXiv:2510.18072). While the critic warms up there are no other
/// terms. A row without a reward (NaN) weighs nothing, and still counts in N. Over ranks, `totals` are summed. Metrics,
/// means over decisions: policy_loss, weight, entropy (where it was computed), kl (with kl_weight).
#include <string>

#include "rft/core/options.h"
#include "rft/objective/critic_options.h"
#include "rft/objective/objective.h"

namespace rft {

class Rwr : public Objective {
 public:
  struct Options {
    std::string weigh = "advantage";
    double temperature = 1;
    double max_weight = 20;
    double kl_weight = 0;
    CriticOptions critic{};
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where critic_warmup is given without a critic, or a critic without weights by the advantage.
  explicit Rwr(Options options);
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void stepped(const Metrics&) override { ++steps_; }
  State state() const override;
  void load_state(const State& state) override;

 private:
  Options options_;
  int64_t steps_ = 0;  ///< optimizer steps taken
};

}  // namespace rft
