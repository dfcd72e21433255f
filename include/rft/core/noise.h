#pragma once
/// Standard normal numbers that depend on a row's key alone, whatever else is in the batch.
#include <cmath>
#include <numbers>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// log(2 pi) / 2, what is taken off the logarithm of a standard normal density.
inline const double half_log_two_pi = 0.5 * std::log(2 * std::numbers::pi);

/// [keys.size(), shape...] float32: row i's numbers are those of Rng(keys[i], stream), by the Box-Muller method.
Tensor standard_normal(const std::vector<uint64_t>& keys, at::IntArrayRef shape, uint64_t stream = 0);

}  // namespace rft
