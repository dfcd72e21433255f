#pragma once
/// CUDA C++ as our kernels use it. nvcc compiles them for the GPU; any C++20 compiler compiles the same files against
/// kernels/emulator/, which runs them on the CPU, thread by thread, so that they are tested where there is no GPU.
/// What a kernel needs beyond standard CUDA is spelled here, once for both.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#define RFT_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#else
#include "kernels/emulator/emulator.h"
#endif

#include "kernels/host_device.h"

namespace rft::kernels {

#ifdef __CUDACC__
using bf16 = __nv_bfloat16;
using f16 = __half;
RFT_HOST_DEVICE float to_float(bf16 x) { return __bfloat162float(x); }
RFT_HOST_DEVICE float to_float(f16 x) { return __half2float(x); }
#else
using bf16 = emulator::bf16;
using f16 = emulator::f16;
inline float to_float(bf16 x) { return emulator::widened(x); }
inline float to_float(f16 x) { return emulator::widened(x); }
#endif
RFT_HOST_DEVICE float to_float(float x) { return x; }

/// x rounded to T, to nearest even.
template <class T>
RFT_HOST_DEVICE T from_float(float x) {
#ifdef __CUDACC__
  if constexpr (std::is_same_v<T, bf16>) {
    return __float2bfloat16_rn(x);
  } else if constexpr (std::is_same_v<T, f16>) {
    return __float2half_rn(x);
  } else {
    return x;
  }
#else
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return emulator::narrowed<T>(x);
  }
#endif
}

/// Numbers that are loaded or stored in one access of N * sizeof(T) <= 16 bytes; aligned to that.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

struct Launch {
  Grid grid;
  unsigned threads = 1;    ///< of a block, at most 1024
  void* stream = nullptr;  ///< a cudaStream_t
  std::size_t shared = 0;  ///< bytes of RFT_DYNAMIC_SHARED
  bool overlap = false;    ///< may start before the kernel in front of it ends (sm_90); it must then call
                           ///< wait_for_previous() before it reads or writes what that one writes
};

#ifdef __CUDACC__
/// Whether the current device lets a kernel start before the one in front of it ends.
inline bool can_overlap() {
  int device = 0, major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  return major >= 9;
}
#endif

/// Starts kernel(arguments...). Returns a cudaError_t, 0 = success.
template <class... P>
int launch(void (*kernel)(P...), const Launch& how, std::type_identity_t<P>... arguments) {
  if (how.grid.x == 0 || how.grid.y == 0 || how.grid.z == 0) return 0;
#ifdef __CUDACC__
  if (how.shared > 0) {  // with the kernel's own it may be more than the 48 KiB that need no asking
    int error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     static_cast<int>(how.shared));
    if (error) return error;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(how.grid.x, how.grid.y, how.grid.z);
  config.blockDim = dim3(how.threads);
  config.dynamicSmemBytes = how.shared;
  config.stream = static_cast<cudaStream_t>(how.stream);
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = how.overlap && can_overlap() ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
#else
  return emulator::run({how.grid.x, how.grid.y, how.grid.z}, how.threads, how.shared, [&] { kernel(arguments...); });
#endif
}

#if defined(__CUDACC__)
/// See Launch::overlap. Every thread that reads or writes what earlier kernels wrote calls it first.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// The kernel behind this one may start (its launch must allow it); it still sees all our writes after its
/// wait_for_previous().
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/// 16 bytes from global to shared memory, behind the thread's back: complete after wait_copies<0>() (and, for other
/// threads, a barrier).
__device__ __forceinline__ void copy16_async(void* shared, const void* global) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))),
      "l"(global));
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;"); }
/// Waits until at most Pending of this thread's groups are unfinished.
template <int Pending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending));
}

/// 16 bytes of read-only data that no other block reads: they are not kept in L1.
__device__ __forceinline__ uint4 load16_once(const void* at) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at));
  return v;
}

/// The 128 bytes around it are fetched into the L2 cache.
__device__ __forceinline__ void fetch_line(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }

/// d += a b over a warp: a [16, 16] row-major, b [16, 8] column-major, d [16, 8] float32. Lane l holds, with g = l / 4,
/// t = l % 4: a[0] = rows g, columns 2t, 2t+1; a[1] = row g+8, the same; a[2] = row g, columns 2t+8, 2t+9; a[3] = row
/// g+8, those; b[0] = rows 2t, 2t+1 of column g; b[1] = rows 2t+8, 2t+9; d[0], d[1] = row g, columns 2t, 2t+1; d[2],
/// d[3] = row g+8. Two bf16 a register, the lower index in the lower half.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
using emulator::commit_copies;
using emulator::copy16_async;
using emulator::fetch_line;
using emulator::let_next_start;
using emulator::load16_once;
using emulator::mma_bf16;
using emulator::wait_copies;
using emulator::wait_for_previous;
#endif

/// The sum (the largest) of x over the lanes of a warp, in every lane. All 32 lanes call it.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}
/// The sum of x over a block of whole warps, in every thread. `scratch`: 32 floats of shared memory that no thread
/// still reads; the same order of additions on every call.
__device__ __forceinline__ float block_sum(float x, float* scratch) {
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  x = threadIdx.x % 32 < blockDim.x / 32 ? scratch[threadIdx.x % 32] : 0.0f;
  return warp_sum(x);
}

}  // namespace rft::kernels
