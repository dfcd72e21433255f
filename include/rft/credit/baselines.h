#pragma once
/// A reward less a baseline of its context, each a paper's own. All: NaN rewards are left out and get A = 0, the same
/// advantage stands at every decision of a row, and RewardOptions come first.
///   greedy_baseline  A = R - the reward of the context's most likely answer (ReMax, Li et al. 2024, arXiv:2310.10505)
///   length_baseline  A = R - sum_group n R / sum_group n, n a row's decisions: the baseline of least variance where
///                    gradients grow with length (OPO, Hao et al. 2025, arXiv:2505.23585)
///   max_at_k         the gradient of the expected best of k answers (PKPO, Walder & Karkhanis 2025,
///                    arXiv:2505.15201; pass@k where rewards are 0 or 1): with the group's n rewards sorted, g_1 <= ...
///                    <= g_n,  s_i = (C(i-1, k-1) g_i + sum_j>i C(j-2, k-2) g_j) / C(n, k), and A_i = (n / k) (s_i -
///                    (k / n) b_i), b_i the unbiased estimate of the best of k of the other n - 1
#include "rft/credit/credit.h"
#include "rft/credit/reward_options.h"

namespace rft {

class GreedyBaseline : public Credit {
 public:
  struct Options : RewardOptions {};
  /// Throws UserError where reward_clip is not [low, high].
  explicit GreedyBaseline(Options options);
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

class LengthBaseline : public Credit {
 public:
  struct Options : RewardOptions {};
  /// Throws UserError where reward_clip is not [low, high].
  explicit LengthBaseline(Options options);
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

class MaxAtK : public Credit {
 public:
  struct Options : RewardOptions {
    int64_t k = 4;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where reward_clip is not [low, high].
  explicit MaxAtK(Options options);
  Needs needs() const override;
  /// Groups of k rows or fewer (NaN ones don't count) get A = 0.
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

}  // namespace rft
