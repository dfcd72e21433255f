#pragma once
#include "reward/images.h"
#include "rft/reward/image_rewards.h"

namespace rft {

/// [1 or B, 3, H, W] (one pixel for a colour) of `like`'s type, and why rows have none. With `same_size` a column's
/// pictures must be as large as `like`; without, each picture is its mean colour, [B, 3, 1, 1].
Tensor target_of(const PictureTarget& target, const Experience& batch, const Tensor& like, bool same_size,
                 std::vector<std::string>& errors);

}  // namespace rft
