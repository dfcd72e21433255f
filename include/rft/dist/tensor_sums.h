#pragma once
/// The two points where a block whose weights are divided among processes meets the others (Megatron-LM, Shoeybi et al.
/// 2019, arXiv:1909.08053, section 3: f and g). `group` may be null: then both are x itself.
#include "rft/dist/communicator.h"

namespace rft {

/// x, the same in all processes, where each goes on with its own weights: gradients are summed on the way back.
Tensor into_parts(const Tensor& x, Communicator* group);
/// The sum over the group of each process's x, where all go on with the same numbers: its gradient is that of every x.
Tensor sum_of_parts(const Tensor& x, Communicator* group);

}  // namespace rft
