#pragma once
/// The pictures that a dataset's rows name.
#include <string>

#include "rft/core/tensor.h"
#include "rft/io/rows.h"

namespace rft {

/// The PNG that row i names in `column` (relative to the dataset's directory), [3, H, W] in [0, 1]. Throws UserError
/// with the row's place where it can't be read.
Tensor row_image(const Rows& rows, int64_t i, const std::string& column);
/// The same, which must be of this size; `as` says in the message why.
Tensor sized_row_image(const Rows& rows, int64_t i, const std::string& column, int64_t height, int64_t width,
                       const char* as = "as the model's samples are");

}  // namespace rft
