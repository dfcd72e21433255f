#pragma once
/// PNG files and sheets of pictures.
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// [3, H, W] float32 in [0, 1]: 8- or 16-bit grey, palette, RGB; alpha is laid over white. Throws UserError naming the
/// file where it is missing, not a PNG, damaged, or larger than 16384 pixels a side (checked before anything is
/// allocated).
Tensor read_png(const std::string& file);

/// image [1 or 3, H, W] in [0, 1] (clamped; rounded to 8 bits as diffusers does). Whole or not at all. Throws RunError.
void write_png(const std::string& file, const Tensor& image);

/// images [N, 1 or 3, H, W] laid out in `columns` (0: the nearest to a square), each enlarged by a whole factor to at
/// least `min_side` pixels with hard edges, `gap` white pixels between them. -> [C, H', W'].
Tensor contact_sheet(const Tensor& images, int64_t columns = 0, int64_t min_side = 64, int64_t gap = 2);

}  // namespace rft
