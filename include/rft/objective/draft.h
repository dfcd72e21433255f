#pragma once
/// Reward backpropagation: the gradient of a differentiable reward flows through the sampler into the policy (DRaFT,
/// Clark et al. 2024, arXiv:2309.17400; AlignProp, arXiv:2310.03739; ReFL, arXiv:2304.05977).
///
///   loss = the mean over rows of l(r), r = Evaluation::reward:
///     -r;  |r - reward_target| with reward_target (AlignProp);  relu(hinge - r) with hinge (ReFL)
/// Path `chain` runs the whole sampler; gradients flow through its last last_steps steps (DRaFT-K; 0 = all), or through
/// a number of them drawn each batch from min_steps to max_steps (AlignProp's random truncation); noise_repeats
/// renoises and denoises the sample that often at the last level (DRaFT-LV). Path `denoised` stops at a step drawn from
/// the share [min_level, max_level] of the run and judges the clean sample predicted there (ReFL).
///
/// With kl_weight (DRAKES, Wang et al. 2024, arXiv:2410.13643) a second term, kl_weight times the mean over rows of
/// extra::path_kl, the divergence of the run's steps from the reference policy's. Metric kl, its mean.
///
/// A row whose reward is NaN is left out: of a micro-batch with some, the mean of the others stands for all of its
/// rows, of the rows of the whole optimizer batch over all ranks (batch.totals.rows). Micro-batches so add up exactly
/// where every row has a reward. Metrics: reward_loss, mean over the rows that have a reward.
#include <optional>
#include <string>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Draft : public Objective {
 public:
  struct Options {
    std::string path = "chain";
    int64_t last_steps = 1;
    std::optional<int64_t> min_steps, max_steps;
    int64_t noise_repeats = 0;
    double min_level = 0, max_level = 1;
    std::optional<double> reward_target;
    std::optional<double> hinge;
    double kl_weight = 0;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the options contradict each other.
  explicit Draft(Options options);
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

/// ReFL: Draft along the path `denoised` with hinge 2, between 3/4 and all of the run (steps 30 to 39 of 40).
class Refl : public Draft {
 public:
  struct Options : Draft::Options {
    Options() { path = "denoised", hinge = 2, min_level = 0.75; }
  };
  explicit Refl(Options options) : Draft(std::move(options)) {}
};

}  // namespace rft
