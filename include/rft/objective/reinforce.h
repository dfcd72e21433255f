#pragma once
/// REINFORCE (Williams 1992, doi:10.1007/BF00992696): the plain policy gradient, for batches that the present policy
/// sampled.
///
///   policy_loss = -(1/N) sum_it m_it A_it logp_it,  N = tokens of the whole optimizer batch (batch.totals.tokens)
///
/// plus the entropy bonus and the KL penalty (regularizer_options.h), each a term of its own. The baseline is the
/// credit's. The mask excludes prompt, padding and tool output. Over ranks, `totals` are summed.
/// Metrics, means over tokens: policy_loss, entropy (where it was computed), kl (with kl_weight).
#include "rft/objective/objective.h"
#include "rft/objective/regularizer_options.h"

namespace rft {

class Reinforce : public Objective {
 public:
  struct Options : RegularizerOptions {};
  explicit Reinforce(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void stepped(const Metrics& metrics) override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  Options options_;
};

}  // namespace rft
