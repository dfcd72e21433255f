#pragma once
/// What the chains of flow and diffusion actors share beside their networks.
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// Numbers that time_features() gives.
inline constexpr int64_t kTimeFeatures = 8;
/// [M, kTimeFeatures]: sines and cosines of `t` [M] in [0, 1], from half a turn on, so that a network can tell early
/// steps from late ones.
Tensor time_features(const Tensor& t);
/// [keys.size()] float32, uniform in [0, 1): row i's number is that of keys[i].
Tensor uniform(const std::vector<uint64_t>& keys, uint64_t stream);

// What a key is used for, beside the S + 1 noises of a chain (streams 0 .. S).
inline constexpr uint64_t kLevelStream = 1001, kPickStream = 1002, kLengthStream = 1003;

}  // namespace rft
