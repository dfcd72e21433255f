#pragma once
/// The optimal advantage under a KL penalty (A*-PO, Brantley et al. 2025, arXiv:2505.20686; TRL 1.16's A2POTrainer):
///
///   A_i = r_i - V*,  V* = beta log(mean over the group of e^(r / beta))
/// V* is what the best policy within a KL penalty of weight beta of the reference gets in this context, estimated from
/// the group. The group is meant to be the reference's own samples; with `importance` each row is weighed by
/// e^(sum_t (ref_logp - logp)), logp of the policy that sampled it, so that samples of the trained policy serve. NaN
/// rewards are left out and get A = 0. The same advantage stands at every decision of a row. (TRL drops contexts all of
/// whose samples failed: selector pass_rate with min above 0.)
#include "rft/core/options.h"
#include "rft/credit/credit.h"

namespace rft {

class OptimalValue : public Credit {
 public:
  struct Options {
    double beta = 0.5;
    bool importance = false;
    void visit(OptionVisitor& v);
  };
  explicit OptimalValue(Options options) : options_(options) {}
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

}  // namespace rft
