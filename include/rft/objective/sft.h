#pragma once
/// Maximum likelihood of given tokens (`sft`), or of the policy's own best ones (`raft`, Dong et al. 2023,
/// arXiv:2304.06767: rejection sampling, then supervised fine-tuning on what a selector kept).
///
///   loss = -(1/N) sum_it m_it logp_it,  N = tokens of the whole optimizer batch (batch.totals.tokens)
///
/// as TRL's SFTTrainer. The mask excludes prompt, padding and tool output. Over ranks, `totals` are summed.
/// Metrics: mean_token_nll, and entropy where it was computed.
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
    void visit(OptionVisitor&) {}
  };
  explicit Raft(Options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
};

}  // namespace rft
