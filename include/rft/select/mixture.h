#pragma once
/// How much of each domain to train on, fitted to what runs with other mixtures came to.
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// A quadratic surrogate of what training on a mixture comes to (MoDoMoDo, Liang et al. 2025, arXiv:2505.24871): of
/// shares w of K domains, w >= 0, sum w = 1, score(w) = w^T Q w. Since the shares sum to 1 this has every quadratic of
/// them, linear and constant parts too.
struct MixtureFit {
  Tensor quadratic;       ///< [K, K] float64, symmetric
  double ridge = 0;       ///< the penalty that was taken
  double left_out_error;  ///< root mean square of what the fit to the others is off at each run; NaN for one run
  double left_out_r2;     ///< 1 - its square / the variance of the scores about the mean of the others; NaN likewise
  double predict(const std::vector<double>& shares) const;
};

/// Least squares with a penalty `ridge` |Q - m|^2 on how far Q is from the scores' mean m (so that few runs can be
/// fitted). A negative ridge chooses among 1e-6, 1e-5, .. 1 the one that is least off at runs that are left out.
/// `shares` holds a row each run, which need not sum to 1. Throws UserError where rows and scores don't fit, or there
/// are fewer than 2 domains or runs.
MixtureFit fit_mixture(const std::vector<std::vector<double>>& shares, const std::vector<double>& scores,
                       double ridge = -1);

/// The shares of greatest predicted score: of every set of domains the point where the surrogate is stationary on it,
/// and the best of these; exact, of at most 16 domains. `least` is the least share of a domain, in [0, 1 / K].
std::vector<double> best_mixture(const MixtureFit& fit, double least = 0);

}  // namespace rft
