#pragma once
/// PPO (Schulman et al. 2017, arXiv:1707.06347) with a critic; defaults are those of TRL's PPOTrainer.
///
///   policy_loss = (1/N) sum m (-min(min(r, clip_delta) A, clip(r, 1 - clip_low, 1 + clip_high) A))
///   value_loss  as in critic_options.h
/// r = exp(logp - old_logp), or of the row's mean log-ratio (ratio_level sequence): the surrogate of Grpo. clip_delta
/// (dual clip, Ye et al. 2020, arXiv:1912.09729: 3 is usual) bounds the loss where A is negative. With clip_base the
/// distances grow over a row's T decisions, as DPPO's over denoising steps (Ren et al. 2024, arXiv:2409.00588), from
/// clip_base at t = 0 to clip_low and clip_high at t = T - 1:
///   clip(t) = clip_base + (clip - clip_base) (e^(clip_rate t / (T - 1)) - 1) / (e^clip_rate - 1)
/// With value_weight 0 there is no critic. Plus the entropy bonus and the KL penalty (regularizer_options.h), each a
/// term of its own. N = tokens of the whole optimizer batch over all ranks. The mask excludes prompt, padding and tool
/// output. Metrics, means over tokens: policy_loss, value_loss (before its weight), value_clip_ratio,
/// clip_ratio/{low,high, region}_mean (over rows where ratio_level is sequence), entropy (where it was computed), kl
/// (with kl_weight).
#include <optional>
#include <string>

#include "rft/objective/critic_options.h"
#include "rft/objective/objective.h"
#include "rft/objective/regularizer_options.h"

namespace rft {

class Ppo : public Objective {
 public:
  struct Options : RegularizerOptions, CriticOptions {
    std::string ratio_level = "token";
    double clip_low = 0.2;
    std::optional<double> clip_high;
    std::optional<double> clip_delta;
    std::optional<double> clip_base;
    double clip_rate = 3;
    Options() { value_weight = 0.1, value_clip = 0.2; }
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where clip_delta is not above 1 + clip_high, or clip_base comes with ratios of whole rows.
  explicit Ppo(Options options);
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void stepped(const Metrics& metrics) override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  Options options_;
  int64_t steps_ = 0;  ///< optimizer steps taken
};

}  // namespace rft
