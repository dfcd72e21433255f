#pragma once
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft::ops {

struct MlpLayer {
  Tensor weight;  ///< [out, in]
  Tensor bias;    ///< [out]
};

/// x [N, in] -> [N, out] through linear layers with "tanh", "relu", "elu" or "silu" after all but the last.
/// Differentiable in x and in all weights. On the CPU in float32 (not silu) it is one node of the graph: networks for
/// control are so small that a node for each product would take longer than the products.
Tensor mlp(const Tensor& x, const std::vector<MlpLayer>& layers, const std::string& activation);

}  // namespace rft::ops
