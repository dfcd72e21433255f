#pragma once
/// The losses of single decisions, each one node of the graph and one pass over its columns. All tensors have one shape
/// and dtype (float32 or float64, CPU); only the first of each has a gradient.
#include <optional>

#include "rft/core/tensor.h"

namespace rft::ops {

/// -min(min(ratio, most) A, clamp(ratio, low, high) A) (Schulman et al. 2017, arXiv:1707.06347; `most` is dual clip).
/// At a bound the gradient is that of the side within it, as LibTorch's clamp and minimum have it.
Tensor clipped_surrogate(const Tensor& ratio, const Tensor& advantage, double low, double high,
                         std::optional<double> most);

/// max((value - returns)^2, (kept - returns)^2) / 2, kept = value within `clip` of old_value; without `clip` the first.
Tensor clipped_value_loss(const Tensor& value, const Tensor& returns, const Tensor& old_value,
                          std::optional<double> clip);

/// [N]: log-density of action [N, K] under independent normals, mean [N, K] and exp(log_std [K]); gradients of mean and
/// log_std.
Tensor normal_logp(const Tensor& mean, const Tensor& log_std, const Tensor& action);

}  // namespace rft::ops
