#pragma once
/// GFlowNets: a policy that makes an object x with probability R(x) / Z, where others would make the best one.
///
/// With F(s) = exp(value(s)) the flow through a state, P_F the policy and P_B the way back (extra::backward_logp; none
/// where there is one way only, as in a sequence that grows at its end), F(s_n) = R(x), and
///   d_t = log F(s_t) + log P_F(t) - log F(s_t+1) - log P_B(t),
/// the loss of a row is
///   tb     (log F(s_0) + sum_t log P_F - log P_B - log R)^2  trajectory balance, log F(s_0) = log Z;
///          Malkin et al. 2022, arXiv:2201.13259
///   db     mean_t d_t^2                                      detailed balance; Bengio et al. 2023, arXiv:2111.09266
///   subtb  sum_{i<j} l^(j-i) (sum_{i<=t<j} d_t)^2 / sum_{i<j} l^(j-i)    Madan et al. 2023, arXiv:2209.12782
/// and the loss the sum over the rows that have a reward, by the rows of the whole optimizer batch. The critic is log
/// F, and where what is observed says which outcome is wanted, log F is conditional on it (OC-GFN, Pan et al. 2024,
/// arXiv:2310.03419; env/outcome_conditioned.h): then with db or subtb, since tb says nothing of the flow inside.
/// Metrics, means over rows: flow_loss, log_z (log F(s_0)), log_reward.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class GFlowNet : public Objective {
 public:
  struct Options {
    std::string balance = "tb";
    double subtb_lambda = 0.9;
    double reward_exponent = 1, reward_floor = 1e-6;
    bool log_reward = false;
    void visit(OptionVisitor& v);
  };
  explicit GFlowNet(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  /// Throws RunError where a row's decisions do not stand together from its first column on.
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Tensor log_reward(const Experience& batch) const;
  Options options_;
};

}  // namespace rft
