#pragma once
/// What objectives of pairs share: the two halves of a batch, and the metrics of every preference objective.
#include "objective/columns.h"

namespace rft::objective {

/// One number a pair, [pairs].
struct PairOf {
  Tensor chosen, rejected;
};

/// The halves of x [2 pairs]. Throws RunError naming `objective` where the rows are not even in number.
PairOf halves(const Tensor& x, const char* objective);
/// The sums, or means, over each answer's tokens of a column [2 pairs, T]. The mean of an answer without tokens is 0.
PairOf pair_sums(const Tensor& column, const Tensor& weight, const char* objective);
PairOf pair_means(const Tensor& column, const Tensor& weight, const char* objective);

/// Scalar: these pairs' share of the mean negative log-likelihood of all chosen tokens of a batch that has `tokens` of
/// them.
Tensor chosen_nll(const Columns& c, double tokens);

/// rewards/{chosen,rejected,margins,accuracies} of what an objective takes for the answers' rewards, logps/{chosen,
/// rejected} of `logp`, means over pairs, and entropy over tokens where it was computed.
void add_pair_metrics(MetricSums& metrics, const PairOf& reward, const PairOf& logp, const Columns& c);

}  // namespace rft::objective
