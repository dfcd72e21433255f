#pragma once
/// Which device computes, and the part of rft that computes on a GPU, loaded when one is first asked for.
#include <string>

#include "rft/core/tensor.h"

namespace rft {

/// "cpu", "cuda" (the first GPU; of several processes on a machine each its own) or "cuda:1". Throws UserError naming
/// `where` for any other name, and for a GPU where there is no driver, an old one, no such GPU, or where the CUDA part
/// or a library that it needs is missing.
at::Device device_of(const std::string& name, const std::string& where);

/// The last GPU that device_of() gave; the CPU where it gave none.
at::Device device_in_use();

/// Waits until `device` has done what it was told; on the CPU nothing is to be waited for.
void synchronize(const at::Device& device);

/// Bytes that tensors on `device` take, and the most they took since the last reset_peak_memory(); 0 on the CPU.
struct DeviceMemory {
  int64_t used = 0, peak = 0;
  int64_t reserved = 0;  ///< what the allocator holds, caches included
  int64_t total = 0;     ///< of the device
};
DeviceMemory device_memory(const at::Device& device);
void reset_peak_memory(const at::Device& device);

/// What the CUDA part does for the functions above; it sets them when it is loaded.
struct DeviceFunctions {
  void (*select)(int8_t index) = nullptr;  ///< the calling thread's current device
  void (*synchronize)(int8_t index) = nullptr;
  DeviceMemory (*memory)(int8_t index) = nullptr;
  void (*reset_peak)(int8_t index) = nullptr;
};
DeviceFunctions& device_functions();

/// The path of a file beside librft.so, wherever that is.
std::string beside_library(const std::string& file);

}  // namespace rft
