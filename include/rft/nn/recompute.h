#pragma once
/// Memory against time: what the backward pass computes again instead of keeping it.
#include <functional>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// body(x), keeping x alone: the backward pass runs body again, with gradients, and then through it (Chen et al. 2016,
/// arXiv:1604.06174). Gradients of the leaves that body captures are added to them as usual; whatever else needs a
/// gradient must be among the inputs. body must give the same values each time.
///
/// Where body(x) is known already, `known` is given out and body runs in the backward pass alone.
Tensor recompute_in_backward(std::function<Tensor(const Tensor&)> body, const Tensor& x, const Tensor& known = {});

/// The same for several inputs.
using BodyOfMany = std::function<Tensor(const std::vector<Tensor>&)>;
Tensor recompute_in_backward(BodyOfMany body, const std::vector<Tensor>& inputs, const Tensor& known = {});

}  // namespace rft
