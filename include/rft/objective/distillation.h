#pragma once
/// Distillation: the policy's whole distribution at every token is drawn to a teacher's, which is the reference policy
/// (policy.reference names another model). Generalised knowledge distillation (Agarwal et al. 2024, arXiv:2306.13649)
/// as TRL 1.16's GKDTrainer; on-policy distillation.
///
///   loss = (1/N) sum m D,  D = beta KL(t || m') + (1 - beta) KL(s || m'),  m' = (1 - beta) s + beta t
/// s the policy's distribution, t the teacher's; beta 0: KL(t || s), the usual, which covers all the teacher does; beta
/// 1: KL(s || t), which seeks what it does most. N = tokens of the whole optimizer batch (totals.tokens, over ranks
/// summed). The tokens are the dataset's, or with on_policy what the policy itself sampled; the mask excludes prompt,
/// padding and tool output. Metrics, means over tokens: divergence; entropy where it was computed.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Distillation : public Objective {
 public:
  struct Options {
    double beta = 0.5;
    bool on_policy = false;
    void visit(OptionVisitor& v);
  };
  explicit Distillation(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
