#pragma once
/// GRPO (Shao et al. 2024, arXiv:2402.03300) and its kin, as TRL 1.16's GRPOTrainer computes them.
///
/// Per token, with m the mask, A the advantage, r = exp(logp - old_logp) (ratio_level sequence, GSPO, arXiv:2507.18071:
/// exp of the row's mean log-ratio), k3 the KL estimate to the reference:
///   grpo bnpo dr_grpo dapo luspo  l = -min(min(r, clip_delta) A, clip(r, 1 - clip_low, 1 + clip_high) A)
///   cispo (arXiv:2506.13585)      l = -sg[min(r, clip_high)] A logp      (clip_high is the cap itself: 5 is usual)
///   sapo  (arXiv:2511.20347)      l = -(4 / tau) sigmoid(tau (r - 1)) A, tau by the sign of A
///   vespo (arXiv:2602.10693)      l = -sg[phi] A logp, phi = e^lambda w^k e^(-lambda w), w the row's product of ratios
/// With thr or thr_threshold (token hidden reward: Deng et al. 2025, arXiv:2510.03669) A is that of GRPO times
///   1[|THR| > thr_threshold anchor] (1 + thr sign(THR)),  THR = sign(A) s,
/// where s (extra::token_influence) says by how much raising a token raises the group's right answers and the anchor is
/// the least, of those answers, of their tokens' mean s (the threshold of NTHR, arXiv:2505.18830): thr above 0 learns
/// more from what makes right answers likelier (exploitation), below 0 from what leaves room for others (exploration).
/// Groups with right or wrong answers alone, and answers that the dataset gave, are weighed as any other.
/// then, in this order: l = 0 for rows that went off-policy (off_policy_threshold), and for tokens of low entropy
/// (entropy_quantile); l *= the sampler's importance ratio (sampler_correction; vespo takes it into w instead);
/// l += kl_weight k3 (times r with kl_ratio_correction).
///
/// Denominator; rows R and tokens N are those of the whole optimizer batch over all ranks, so micro-batches add up:
///   grpo, sapo               sum_i (sum_t m l / n_i) / R        (n_i: the row's tokens, at least 1)
///   dapo, cispo, vespo, bnpo sum m l / N   (bnpo differs from dapo only where a trainer averages local batches)
///   dr_grpo (arXiv:2503.20783)  sum m l / (R max_completion_length)
///   luspo                    sum m l / R
/// Rows that the dataset gave (extra::given; rollout.given_answers) are treated like samples, except that given_shaping
/// c above 0 replaces their loss by -A p / (p + c), p = e^logp, which teaches most where the policy is least likely to
/// go (LUFFY, Yan et al. 2025, arXiv:2504.14945: c = 0.1); given_nll_weight adds their likelihood, -given_nll_weight
/// sum m logp / N over them, a term of its own (mixed supervised and reward fine-tuning). The entropy bonus,
/// -entropy_weight sum m H / N over the tokens that the policy loss acts on, is a term of its own. The mask excludes
/// prompt, padding, tool output and, with mask_truncated_completions, rows that hit the length limit; those rows still
/// count in R, their tokens don't in N.
///
/// Metrics: kl, entropy, entropy_selected (over the tokens entropy_quantile keeps), clip_ratio/{low,high,region}_mean,
/// thr/kept and thr/positive (shares of tokens, with thr), cispo_clip_ratio, vespo/phi_seq_mean, policy_loss and
/// entropy_coef (with a bonus), sampling/importance_sampling_ratio/mean (with sampler_correction). Means over tokens,
/// or over rows where ratio_level is sequence.
#include <optional>
#include <string>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Grpo : public Objective {
 public:
  struct Options {
    std::string variant = "dapo";
    std::string ratio_level = "token";
    double clip_low = 0.2;
    std::optional<double> clip_high;
    std::optional<double> clip_delta;
    double kl_weight = 0;
    bool kl_ratio_correction = true;
    double entropy_weight = 0;
    double entropy_quantile = 1;
    bool entropy_adaptive = false;
    double entropy_weight_min = 0, entropy_weight_max = 1, entropy_weight_delta = 0.005, entropy_target = 0.2;
    std::optional<double> off_policy_threshold;
    std::optional<int64_t> max_completion_length;
    bool mask_truncated_completions = false;
    std::string sampler_correction = "none";
    std::optional<double> sampler_correction_max = 3.0, sampler_correction_min;
    double given_shaping = 0, given_nll_weight = 0;
    double thr = 0, thr_threshold = 0;
    double sapo_tau_pos = 1.0, sapo_tau_neg = 1.05;
    double vespo_k_pos = 2, vespo_lambda_pos = 3, vespo_k_neg = 3, vespo_lambda_neg = 2;

    void visit(OptionVisitor& v);
  };

  /// Throws UserError where the options contradict each other.
  explicit Grpo(Options options);

  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void observe(const Evaluation& now, const Experience& whole) override;
  void stepped(const Metrics& metrics) override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  /// What doesn't add up over micro-batches.
  struct Statistics {
    double tokens = 0;        ///< N
    double bonus_tokens = 0;  ///< tokens the policy loss and the entropy bonus act on
    double threshold = 0;     ///< least entropy of such a token
  };
  Statistics measure(const Evaluation& now, const Experience& batch) const;
  Statistics statistics(const Evaluation& now, const Experience& batch) const;
  bool weighs_tokens() const { return options_.thr != 0 || options_.thr_threshold != 0; }
  bool has_bonus() const { return options_.entropy_weight != 0 || options_.entropy_adaptive; }
  double bonus_weight() const;
  Tensor mask_of(const Experience& batch) const;

  Options options_;
  std::optional<Statistics> observed_;  ///< from observe() to the end of the step
  double entropy_weight_;
  double last_entropy_;
};

}  // namespace rft
