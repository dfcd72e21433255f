#pragma once
/// Maximum likelihood of given tokens (`sft`), or of the policy's own best ones (`raft`, Dong et al. 2023,
/// arXiv:2304.06767: rejection sampling, then supervised fine-tuning on what a selector kept).
///
///   loss = -(1/N) sum_it m_it logp_it,  N = tokens of the whole optimizer batch (batch.totals.tokens)
///
/// as TRL's SFTTrainer; raft with kl_weight: plus kl_weight (1/N) sum m k3, which holds it near the reference (SuperHF,
/// Mukobi et al. 2023, arXiv:2310.16763); with divergence_weight: plus divergence_weight (1/N) sum m D, D = extra::
/// divergence of the whole distributions from the reference's, forward_kl: KL(reference || policy) (Quark, Lu et al.
/// 2022, arXiv:2205.13636, whose weight is 0.05), reverse_kl: KL(policy || reference). The mask excludes prompt,
/// padding and tool output. Over ranks, `totals` are summed. Metrics: mean_token_nll, kl (with kl_weight), divergence
/// (with divergence_weight), and entropy where it was computed.
#include <string>

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
    double kl_weight = 0, divergence_weight = 0;
    std::string divergence = "forward_kl";
    void visit(OptionVisitor& v);
  };
  explicit Raft(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
