#pragma once
/// When positions of a sequence are unmasked, and the random numbers of what they become.
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// [B, L] int64: the step in 0 .. steps - 1 at which each undecided position is unmasked, -1 elsewhere; undecided
/// [B, L] bool, a key a row. "random": each by itself, uniformly (the absorbing process at levels 1, 1 - 1/steps, ...);
/// "even": in a random order, as many at each step as at any other, to within one; "left_to_right": the same from left
/// to right. Throws UserError for another name.
Tensor unmasking_steps(const std::vector<uint64_t>& keys, const Tensor& undecided, int64_t steps,
                       const std::string& order);

/// [M, vocabulary] float64 standard Gumbel numbers for the cells [M] int64 (b * length + l) of a batch: those of the
/// row's key and the position. The largest of logp + gumbel is a sample of logp.
Tensor gumbel(const std::vector<uint64_t>& keys, const Tensor& cells, int64_t length, int64_t vocabulary);

/// [B, L] float64 uniform numbers of a row's key and the position.
Tensor uniform_cells(const std::vector<uint64_t>& keys, int64_t length);

}  // namespace rft
