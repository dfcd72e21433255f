#pragma once
#include <cstdint>

#include "rft/core/tensor.h"

namespace rft {

// What a seed is used for; each use draws from its own stream.
enum Stream : uint64_t {
  kOrder = 1,
  kSampling = 2,
  kShuffle = 3,
  kDraws = 4,
  kWorlds = 5,
  kEvaluation = 6,
  kWeights = 7,
  kMeta = 8
};

/// extra::draw of `rows` rows in groups of `group`.
Tensor draw_keys(int64_t rows, int64_t group, uint64_t seed);

}  // namespace rft
