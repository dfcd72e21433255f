#pragma once
/// Tests of the CUDA part: the kernels run in the emulator, with tensors on the CPU, or (cuda_device_tests) on the GPU.
#include <ATen/ATen.h>

#include "rft/core/tensor.h"

namespace rft::testing {

inline at::Device device() {
#ifdef RFT_ON_DEVICE
  return {at::kCUDA, 0};
#else
  return at::kCPU;
#endif
}
inline constexpr bool kEmulated =
#ifdef RFT_ON_DEVICE
    false;
#else
    true;
#endif
inline Tensor on_device(const Tensor& x) { return x.to(device()); }

}  // namespace rft::testing
