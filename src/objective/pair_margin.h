#pragma once
/// By how much the better answer of a pair is better.
#include "rft/core/experience.h"

namespace rft::objective {

/// [pairs] in `like`'s dtype: the difference of the two rows' rewards, or where there are none the better one's
/// extra::margin; NaN where a reward is missing. Throws RunError naming `objective` where there is neither.
Tensor pair_margin(const Experience& batch, const Tensor& like, const char* objective);

}  // namespace rft::objective
