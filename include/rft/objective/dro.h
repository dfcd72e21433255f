#pragma once
/// DRO, direct reward optimisation on a group's baseline (Richemond et al. 2024, arXiv:2405.19107; verl's dro loss):
/// the policy gradient of any rows, on-policy or not, held near the policy that made them by a squared log-ratio
/// instead of a clipped ratio.
///
///   loss = -(1/N) sum m (A logp - (beta / 2) (logp - old_logp)^2)   ratio_level token
///   loss = -(1/R) sum_i (A_i x_i - (beta / 2) d_i^2), x and d the row's sums of logp and logp - old_logp, sequence
/// old_logp: of the policy at the start of the updates, or with anchor reference of the reference, where the optimum of
/// the sequence form is p_ref e^(A / beta) / Z. N = tokens, R = rows of the whole optimizer batch, which over ranks are
/// summed. The mask excludes prompt, padding and tool output. Metrics, means over tokens: policy_loss, distance ((logp
/// - anchor)^2 / 2), entropy where it was computed.
#include <string>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Dro : public Objective {
 public:
  struct Options {
    double beta = 0.1;
    std::string ratio_level = "token";
    std::string anchor = "old";
    void visit(OptionVisitor& v);
  };
  explicit Dro(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
