#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// y[i] = x[index[i]], rows of any shape. `inverse` [rows of x] says where row j of x went, -1 for nowhere: the
/// gradient of x[j] is that of y[inverse[j]] alone, or 0. Rows of y that repeat a row of x must therefore have no
/// gradient of their own (padding). Both directions are plain copies; LibTorch's index_select sorts and adds in its
/// backward pass.
Tensor gather_rows(const Tensor& x, const Tensor& index, const Tensor& inverse);

}  // namespace rft::ops
