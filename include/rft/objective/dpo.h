#pragma once
/// Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) and its kin, as TRL 1.16's DPOTrainer.
///
/// Of each pair: w, l = log-probabilities of the chosen and the rejected answer, summed over their tokens; x = w -
/// ref_w and y = l - ref_l; g the score of an f-divergence (arXiv:2309.16240): reverse_kl x, forward_kl 1 - e^-x,
/// js_divergence log 2 + log s(x), alpha_divergence (e^((f_alpha - 1) x) - 1) / (f_alpha - 1); D = g(x) - g(y), D' the
/// same with each score divided by its answer's tokens; b = beta, e = label_smoothing, s the logistic function.
///   sigmoid       -log s(b D)                       sigmoid_norm  -log s(b D')
///   hinge         relu(1 - b D)                     ipo           (D' - 1 / (2 b))^2          (arXiv:2310.12036)
///   exo_pair      s(b D) (log s(b D) - log(1 - e)) + s(-b D) (log s(-b D) - log e)            (arXiv:2402.00856)
///   robust        (-(1 - e) log s(b D) + e log s(-b D)) / (1 - 2 e)                           (arXiv:2403.00409)
///   discopop      -log s(b D) (1 - m) + e^(-b D) m,  m = s(b D / discopop_tau)                (arXiv:2406.08414)
///   nca_pair      -log s(b x) - (log s(-b x) + log s(-b y)) / 2                               (arXiv:2402.05369)
///   bco_pair      -log s(b x) - log s(-b y)                                                   (arXiv:2404.04656)
///   sppo_hard     (x - 1 / (2 b))^2 + (y + 1 / (2 b))^2                                       (arXiv:2405.00675)
///   apo_zero      1 - s(b x) + s(b y)               apo_down      s(b x) + 1 - s(b (x - y))   (arXiv:2408.06266)
///   aot           -(1 - e) log s(b d) - e log s(-b d),  d = sort(w - l) - sort(ref_w - ref_l) over the batch's pairs
///   aot_unpaired  the same with d = sort(x) - sort(y)                                         (arXiv:2406.05882)
///   soft_label    -p log s(b D) - (1 - p) log s(-b D),  p = s(margin / reward_scale): how sure a Bradley-Terry model
///                 of the two rewards is (reward preference optimisation, Miao et al. 2024, arXiv:2407.12164;
///                 arXiv:2502.00203). margin = the rewards' difference, where there are none extra::margin
///   sft           -(the mean log-probability of all chosen tokens of the batch)
/// loss = sum_k loss_weights_k (mean over the pairs of variant_k), e.g. MPO: [sigmoid, bco_pair, sft] by [0.8, 0.2, 1].
/// With `weighting` a pair counts by e^(mean logp of the chosen + mean logp of the rejected), held constant: how likely
/// the policy is to give such answers (WPO, Zhou et al. 2024, arXiv:2406.11827, eq. 1; TRL's use_weighting also divides
/// each probability by the sum of squares of the whole distribution, WPO's sampled alignment). Plus exploration_weight
/// times the mean over pairs of the summed logp of those answers that the policy did not make itself (extra::given,
/// e.g. the reference's by rollout.reference_answers): exploratory preference optimisation (XPO, Xie et al. 2024,
/// arXiv:2405.21046), which draws the policy away from what the reference would say; a term of its own.
/// ld_alpha weighs the tokens of an answer beyond the length of the shorter of the two (LD-DPO, arXiv:2409.06411).
///
/// Pairs and chosen tokens are counted over the whole optimizer batch, totals.rows / 2 and totals.chosen. What aot and
/// aot_unpaired sort is the whole batch of one process: observe() must have seen it where it comes in micro-batches
/// (RunError otherwise). Pairs of exactly equal values share their partners evenly.
/// Metrics, means over pairs: rewards/{chosen,rejected,margins,accuracies} (beta x, beta y), logps/{chosen,rejected};
/// entropy over tokens, where it was computed.
#include <optional>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Dpo : public Objective {
 public:
  struct Options {
    std::vector<std::string> variant = {"sigmoid"};
    std::vector<double> loss_weights;
    double beta = 0.1;
    double label_smoothing = 0;
    std::string f_divergence = "reverse_kl";
    double f_alpha = 0.5;
    double discopop_tau = 0.05;
    double reward_scale = 1;
    std::optional<double> ld_alpha;
    bool weighting = false;
    double exploration_weight = 0;
    void visit(OptionVisitor& v);
  };
  /// What the variants that look beyond their own pair have to know of the whole batch; each [pairs], sorted.
  struct Whole {
    Tensor policy_margin, ref_margin;  ///< of w - l and ref_w - ref_l
    Tensor chosen, rejected;           ///< of x and y
  };

  /// Throws UserError where the options contradict each other.
  explicit Dpo(Options options);
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void observe(const Evaluation& now, const Experience& whole) override;
  void stepped(const Metrics& metrics) override;

 private:
  Options options_;
  std::optional<Whole> observed_;  ///< from observe() to the end of the step
};

}  // namespace rft
