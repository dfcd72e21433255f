#pragma once
/// Maximum likelihood of given tokens (`sft`), or of the policy's own best ones (`raft`, Dong et al. 2023,
/// arXiv:2304.06767: rejection sampling, then supervised fine-tuning on what a selector kept).
///
///   loss = -(1/N) sum_it m_it logp_it,  N = tokens of the whole optimizer batch (batch.totals.tokens)
///
/// as TRL's SFTTrainer; raft with kl_weight: plus kl_weight (1/N) sum m k3, which holds it near the reference (SuperHF,
/// Mukobi et al. 2023, arXiv:2310.16763). The mask excludes prompt, padding and tool output. Over ranks, `totals` are
/// summed. Metrics: mean_token_nll, kl (with kl_weight), and entropy where it was computed.
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Sft : public Objective {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit Sft(Options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
};

class Raft : public Objective {
 public:
  struct Options {
    double kl_weight = 0;
    void visit(OptionVisitor& v);
  };
  explicit Raft(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
