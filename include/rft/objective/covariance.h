#pragma once
/// Two ways to keep a policy from losing its entropy, by the tokens in which the likelihood goes most with the
/// advantage (Cui et al. 2025, "The entropy mechanism of reinforcement learning", arXiv:2505.22617; verl's clip_cov and
/// kl_cov).
///
/// Of each token cov = (A - mean A)(logp - mean logp), means over all tokens of the optimizer batch; N its tokens.
/// r = exp(logp - old_logp).
///   clip_cov  -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A); of the tokens with cov_low < cov < cov_high that are
///   not
///             clipped, `share` N (at least 1), those of highest cov, get no gradient (verl draws them at random)
///   kl_cov    -r A; the `share` N tokens (at least 1) of highest cov also cost kl_weight |logp - old_logp|
/// loss = the sum over tokens over N. What the whole batch decides needs observe() where it comes in micro-batches
/// (RunError otherwise), and is held for the step. The mask excludes prompt, padding and tool output. Metrics, means
/// over tokens: clip_ratio/{low,high,region}_mean, cov_ratio (tokens picked), entropy where it was computed.
#include <optional>
#include <string>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Covariance : public Objective {
 public:
  struct Options {
    std::string variant = "clip_cov";
    double clip_low = 0.2;
    std::optional<double> clip_high;
    double share = 0.0002;
    double cov_low = 1, cov_high = 5;
    double kl_weight = 1;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where cov_low is not below cov_high.
  explicit Covariance(Options options);
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void observe(const Evaluation& now, const Experience& whole) override;
  void stepped(const Metrics&) override { observed_.reset(); }

 private:
  /// What the whole batch decides.
  struct Statistics {
    double mean_advantage = 0, mean_logp = 0;
    double threshold = 0;  ///< tokens whose covariance is at least this are picked
  };
  Statistics measure(const Evaluation& now, const Experience& batch) const;

  Options options_;
  std::optional<Statistics> observed_;  ///< from observe() to the end of the step
};

}  // namespace rft
