#pragma once
/// Standard normal numbers that depend on a row's key alone, whatever else is in the batch.
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// [keys.size(), shape...] float32: row i's numbers are those of Rng(keys[i], stream), by the Box-Muller method.
Tensor standard_normal(const std::vector<uint64_t>& keys, at::IntArrayRef shape, uint64_t stream = 0);

}  // namespace rft
