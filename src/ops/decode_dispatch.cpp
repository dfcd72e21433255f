/// Picks the decoding kernels that this CPU runs.
#include "ops/decode_kernels.h"

namespace rft::ops {
namespace {

const DecodeKernels*& chosen() {
  static const DecodeKernels* kernels = decode_kernel_sets().front();
  return kernels;
}

}  // namespace

const std::vector<const DecodeKernels*>& decode_kernel_sets() {
  static const std::vector<const DecodeKernels*> sets = [] {
    std::vector<const DecodeKernels*> found;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      found.push_back(&avx512_kernels());
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2_kernels());
#endif
    found.push_back(&portable_kernels());
    return found;
  }();
  return sets;
}

const DecodeKernels& decode_kernels() { return *chosen(); }

void use_decode_kernels(const DecodeKernels& kernels) { chosen() = &kernels; }

}  // namespace rft::ops
