#pragma once
/// Regressive GRPO (Park et al. 2025, DeepVideo-R1, arXiv:2506.07464, eq. 7 and 8): no ratio is clipped; the policy's
/// own log-ratios, normalised in the group as the rewards were, are drawn to the advantages.
///
///   rho_i = sum_t m (logp - old_logp),  P_i = (rho_i - mean_group rho) / (std_group rho + eps)
///   regression = (1/R) sum_i (P_i - A_i)^2
/// A_i is the row's mean advantage (credit group_normalized); the standard deviation is the sample's (n - 1). R = rows
/// of the whole optimizer batch (totals.rows, over ranks summed). The gradient goes through the group's mean and
/// deviation too, in any division into micro-batches: observe() must have seen the whole batch (RunError where a part
/// came without it); groups are those of one process. Where all log-ratios of a group are equal, as in the first of
/// several iterations, the gradient is that of A's direction over eps: rely on the optimizer's clipping, and use
/// train.iterations of 2 or more. Rows without tokens, and those whose reward is NaN, are left out of the groups and
/// still count in R; a group of one teaches nothing. The mask excludes prompt, padding and tool output. Beside it the
/// entropy bonus and the KL penalty to the reference (regularizer_options.h), terms of their own.
/// Metrics: regression, predicted_advantage (P) over rows; entropy, kl over tokens.
#include <map>
#include <optional>

#include "rft/objective/objective.h"
#include "rft/objective/regularizer_options.h"

namespace rft {

class RegGrpo : public Objective {
 public:
  struct Options : RegularizerOptions {
    double eps = 1e-4;
    void visit(OptionVisitor& v);
  };
  explicit RegGrpo(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void observe(const Evaluation& now, const Experience& whole) override;
  void stepped(const Metrics& metrics) override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  /// What a group's rows must know of each other.
  struct Group {
    double mean = 0, deviation = 0;    ///< of rho
    double error = 0, covariance = 0;  ///< mean of P - A; sum of (P - A) (rho - mean)
    double rows = 0;
  };
  std::map<int64_t, Group> measure(const Evaluation& now, const Experience& batch) const;

  Options options_;
  std::optional<std::map<int64_t, Group>> observed_;  ///< from observe() to the end of the step
};

}  // namespace rft
