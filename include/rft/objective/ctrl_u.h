#pragma once
/// Ctrl-U (Zhang et al. 2025, arXiv:2410.11236) and, with `uncertainty: false`, ControlNet++ (Li et al. 2024,
/// arXiv:2404.07987): a controlled image model learns to agree with its condition, as a differentiable reward judges it
/// on a denoised estimate of noised data.
///
///   reward_loss = reward_weight min(1, step / ramp_steps) (mean over rows of -r e^-u + uncertainty_weight u)
///                 (without uncertainty: -r)
///   pretrain_loss = -pretrain_weight (1/N) sum m logp,  N = tokens of the whole optimizer batch: the denoising error
/// r = Evaluation::reward; u = extra::uncertainty of Evaluation::extra where it is given, else uncertainty_scale
/// |r_1 - r_2| of the two rows of a group, which are two noises of one image at one level. Its gradient is kept, or
/// with `uncertainty_gradient: false` it is a weight alone: where rewards are negative (log-probabilities) -r e^-u
/// falls as u grows, and its gradient would drive the two apart. step counts the optimizer steps taken before (a
/// checkpoint has it); ramp_steps 0: no ramp. Rows noised beyond max_level get no reward.
///
/// The authors' code (github.com/grenoble-zhang/Ctrl-U, train/) differs in what is not in the paper's formula: its two
/// rows are one noise at neighbouring levels t and t + 1, of which the first alone is rewarded; doubt is per pixel, the
/// Kullback-Leibler divergence of two segmentations or the distance of two maps; the ramp has 5000 steps, and u stands
/// outside of weight and ramp: its depth recipe is uncertainty_scale 1, uncertainty_weight 0.1, reward_weight 1.
///
/// A row whose reward or uncertainty is not finite is left out of reward_loss: of a micro-batch with some, the mean of
/// the others stands for all of its rows, of the rows of the whole optimizer batch over all ranks (batch.totals.rows).
/// Micro-batches so add up exactly where no row is left out. Metrics: reward_loss (before its weight) and uncertainty,
/// means over the rows that count; pretrain_loss, mean over tokens.
#include <optional>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class CtrlU : public Objective {
 public:
  struct Options {
    bool uncertainty = true;
    double uncertainty_scale = 0.1;
    double uncertainty_weight = 1;
    bool uncertainty_gradient = true;
    double reward_weight = 1;
    int64_t ramp_steps = 0;
    double pretrain_weight = 1;
    double max_level = 0.4;
    void visit(OptionVisitor& v);
  };
  explicit CtrlU(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void stepped(const Metrics& metrics) override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  Options options_;
  int64_t steps_ = 0;  ///< taken so far
};

}  // namespace rft
