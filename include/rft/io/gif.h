#pragma once
/// Animated GIF files.
#include <string>

#include "rft/core/tensor.h"

namespace rft {

/// frames [N, 3, H, W] in [0, 1] (clamped), repeated for ever; every frame has its own palette of 256 colours. Whole or
/// not at all. Throws RunError naming the file where it can't be written or the shape is another.
void write_gif(const std::string& file, const Tensor& frames, double frames_a_second);

/// What happened, as people would rather see it: STEM.gif, and STEM.png with a few of the frames side by side.
void write_episode(const std::string& stem, const Tensor& frames);

}  // namespace rft
