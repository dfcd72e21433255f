#pragma once
/// How good a reward model is: numbers from what it said of answers whose worth is known. NaN scores are left out.
#include <vector>

namespace rft {

/// What a reward model said of pairs, by its scores of the better and of the worse answer.
struct PairAssessment {
  double pairs = 0;     ///< those of which both scores are known
  double accuracy = 0;  ///< share with the better answer above; equal scores count half
  /// Expected calibration error (Guo et al. 2017, arXiv:1706.04599): of p = s(better - worse), s the logistic function,
  /// a model says max(p, 1 - p) of its own verdict; the mean over pairs of |share right - mean said| of their bin of
  /// said.
  double calibration_error = 0;
  double margin = 0;  ///< mean of better - worse
};
/// `better` and `worse` are as long as each other. All 0 where no pair is known.
PairAssessment assess_pairs(const std::vector<double>& better, const std::vector<double>& worse, int bins = 10);

/// The area under the ROC curve: how likely the score of a good row is above that of a bad one, equal ones half. NaN
/// where one kind is missing. `good` is as long as `score`.
double area_under_roc(const std::vector<double>& score, const std::vector<bool>& good);

/// The expected worth of the answer that `score` finds best among n of these m answers to one context, drawn without
/// replacement: with ranks by score i = 1 .. m, sum_i C(i - 1, n - 1) / C(m, n) worth_i, unbiased; equal scores share
/// their worth. NaN where fewer than n answers have a score and a worth.
double best_of_n(const std::vector<double>& score, const std::vector<double>& worth, int n);

/// How far best-of-n moves a policy: its KL divergence to the policy that is sampled, at most (Beirami et al. 2024,
/// arXiv:2401.01879), nats: log n - (n - 1) / n.
double best_of_n_kl(int n);

}  // namespace rft
