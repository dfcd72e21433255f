// What loading the CUDA part does: it tells librft.so what it can do.
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime.h>

#include "cuda/decode_engine.h"
#include "policy/token_engine.h"
#include "rft/core/device.h"

namespace rft::cuda {
namespace {

DeviceMemory memory(int8_t index) {
  using namespace c10::CachingDeviceAllocator;
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index);
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {stats.allocated_bytes[kAll].current, stats.allocated_bytes[kAll].peak, stats.reserved_bytes[kAll].current,
          static_cast<int64_t>(at::cuda::getDeviceProperties(index)->totalGlobalMem)};
}

void synchronize(int8_t index) {
  const c10::cuda::CUDAGuard guard(index);
  c10::cuda::device_synchronize();
}

const bool told = [] {
  gpu_engine() = &decode_engine;
  device_functions() = {[](int8_t index) { c10::cuda::set_device(index); }, &synchronize, &memory,
                        [](int8_t index) { c10::cuda::CUDACachingAllocator::resetPeakStats(index); }};
  return true;
}();

}  // namespace
}  // namespace rft::cuda
