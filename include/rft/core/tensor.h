#pragma once
/// The tensor type. Public headers include this and nothing more of LibTorch; source files may include <ATen/ATen.h>.
#include <ATen/core/Tensor.h>

namespace rft {
using at::Tensor;
}
