#pragma once
/// What is decided in one unmasking step of a batch.
#include "rft/policy/masked_diffusion.h"

namespace rft {

/// The b rows that decide something at a step, and the M positions that they decide.
struct MaskedDiffusion::Choice {
  Tensor rows;    ///< [b] int64
  Tensor cells;   ///< [M] int64: row * L + position, in the whole batch
  Tensor inside;  ///< [M] int64: the same among the b rows
  bool empty() const { return cells.numel() == 0; }
};

}  // namespace rft
