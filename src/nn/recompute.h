#pragma once
#include <functional>

#include "rft/core/tensor.h"

namespace rft {

/// body(x), keeping x alone: the backward pass runs body again, with gradients, and then through it (Chen et al. 2016,
/// arXiv:1604.06174). Gradients of the leaves that body captures are added to them as usual. body must give the same
/// values each time.
Tensor recompute_in_backward(std::function<Tensor(const Tensor&)> body, const Tensor& x);

}  // namespace rft
