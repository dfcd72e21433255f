#pragma once
/// Distances between sets of feature vectors, in float64.
#include <vector>

#include "rft/reward/distribution_rewards.h"

namespace rft {

/// Of rows [N, D], N at least 2.
Gaussian gaussian_of(const Tensor& rows);

/// |mean - mean'|^2 + tr(C + C' - 2 (C C')^1/2) between rows [N, D], N at least 2, and `reference`.
double frechet_distance(const Tensor& rows, const Gaussian& reference);
/// Element i: the distance without row i less the distance with it; N at least 3.
std::vector<double> frechet_gains(const Tensor& rows, const Gaussian& reference);

/// exp(-sum of lambda log lambda) over the eigenvalues of S / N, where S [N, N] are similarities of 1 on the diagonal.
double vendi_score(const Tensor& similarity);

}  // namespace rft
