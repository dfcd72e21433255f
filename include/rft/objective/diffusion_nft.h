#pragma once
/// DiffusionNFT (Zheng et al. 2025, arXiv:2509.16117): reinforcement learning on the forward process. A finished sample
/// is noised again; what the policy is pulled to, and what it is pushed from, are two mixtures of its own estimate of
/// the clean sample and that of the policy that made it.
///
///   x+ = beta x + (1 - beta) x_old,   x- = (1 + beta) x_old - beta x,   x = extra::estimate, x_old = old_estimate
///   l+- = mean over dimensions of (x+- - action)^2 / max(mean |x+- - action|, 1e-5), the divisor without gradient
///   r = clamp(a / advantage_clip, -1, 1) / 2 + 1/2,  a = the advantage in [-advantage_clip, advantage_clip], or by
///   `advantages`: positive_only max(a, 0), negative_only min(a, 0), one_only 1 where a > 0 (else 0), binary sign(a)
///   policy_loss = (advantage_clip / beta) (1/N) sum_it m_it (r l+ + (1 - r) l-)
///   kl_penalty = kl_weight (1/N) sum_it m_it mean (answer - reference's answer)^2
/// N = noised samples of the whole optimizer batch (batch.totals.tokens). As scripts/train_nft_sd3.py of NVlabs'
/// DiffusionNFT, which is written for flow models: where a denoiser predicts noise, its estimates at the highest noise
/// levels are large, and weigh more than the others. Over ranks, `totals` are summed. The policy judges with `rollout:
/// {judge: forward}`. Metrics, means over the noised samples: policy_loss, positive_loss (l+), negative_loss (l-), kl
/// (with kl_weight).
#include <string>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class DiffusionNft : public Objective {
 public:
  struct Options {
    double beta = 1;
    double advantage_clip = 5;
    std::string advantages = "all";
    double kl_weight = 1e-4;
    void visit(OptionVisitor& v);
  };
  explicit DiffusionNft(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
