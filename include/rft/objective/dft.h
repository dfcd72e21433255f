#pragma once
/// Supervised fine-tuning in which a token counts by how likely it is already: DFT (Wu et al. 2025, arXiv:2508.05629;
/// TRL's SFTTrainer with loss_type dft), and ASFT, which anchors it to the reference (Zhu et al. 2025,
/// arXiv:2509.23753).
///
///   dft   loss = -(1/N) sum m sg[p] logp,  p = e^logp
///   asft  the same, plus kl_weight (1/N) sum m D
/// N = tokens of the whole optimizer batch (totals.tokens, over ranks summed). D = extra::divergence of the whole
/// distributions at each token, forward_kl: KL(reference || policy), which is what the authors' code computes (and
/// LLaMA-Factory's; kl_weight 0.1), reverse_kl: KL(policy || reference), which is what their paper writes. The mask
/// excludes prompt, padding and tool output. Metrics, means over tokens: mean_token_nll; divergence (asft); entropy
/// where it was computed.
#include <string>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Dft : public Objective {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit Dft(Options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
};

class Asft : public Objective {
 public:
  struct Options {
    double kl_weight = 0.1;
    std::string divergence = "forward_kl";
    void visit(OptionVisitor& v);
  };
  explicit Asft(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
