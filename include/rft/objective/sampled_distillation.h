#pragma once
/// On-policy distillation by the sampled tokens alone: the reward of a token is by how much likelier the teacher finds
/// it than the policy did (policy.reference names the teacher). With prefix_weight, importance-weighted (IW-OPD): TRL
/// 1.16's IWOPDTrainer.
///
///   a_t = ref_logp - old_logp,  w_t = 1 + prefix_weight (1 - sum_{s < t} |a_s| / max(sum_s |a_s|, 1e-8))
///   loss = -(1/N) sum m w a logp,  a and w held constant
/// so that what comes before a row has drifted from the teacher counts up to 1 + prefix_weight times. N = tokens of the
/// whole optimizer batch (totals.tokens, over ranks summed). Its gradient is an unbiased estimate of that of KL(policy
/// || teacher) a token, without the teacher's whole distributions (which `distillation` reads). The mask excludes
/// prompt, padding and tool output. Metrics, means over tokens: teacher_advantage (w a), kl (-a), prefix_weight (w);
/// entropy where it was computed.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class SampledDistillation : public Objective {
 public:
  struct Options {
    double prefix_weight = 0.5;
    void visit(OptionVisitor& v);
  };
  explicit SampledDistillation(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
