#pragma once
/// A GPU on the CPU, for tests: runs a kernel block by block on the calling thread, the threads of a block as fibers
/// that take turns at barriers and warp operations. A barrier that not all threads reach ends the program with a
/// message. Slow, deterministic, and open to the address sanitizer.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
// Blocks run one after another, so one copy serves them all.
#define __shared__ static thread_local
#define __grid_constant__
#define RFT_DYNAMIC_SHARED(name) unsigned char* name = ::rft::kernels::emulator::dynamic_shared()

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct float2 {
  float x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int cudaSuccess = 0;

namespace rft::kernels::emulator {

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};
float widened(bf16 x);
float widened(f16 x);
template <class T>
T narrowed(float x);
template <>
bf16 narrowed<bf16>(float x);
template <>
f16 narrowed<f16>(float x);

int run(dim3 grid, unsigned threads, std::size_t shared, const std::function<void()>& kernel);
unsigned char* dynamic_shared();
void block_barrier();
void warp_barrier(unsigned mask);
/// `size` <= 64 bytes of every lane's `mine`, valid until the warp's next operation. All lanes of `mask` call it.
const unsigned char* exchanged(unsigned mask, const void* mine, std::size_t size);
constexpr std::size_t kLaneBytes = 64;

template <class T>
T from_lane(unsigned mask, const T& mine, int lane) {
  static_assert(sizeof(T) <= kLaneBytes && std::is_trivially_copyable_v<T>);
  const unsigned char* all = exchanged(mask, &mine, sizeof(T));
  T out;
  std::memcpy(&out, all + static_cast<std::size_t>(lane) * kLaneBytes, sizeof(T));
  warp_barrier(mask);
  return out;
}
int lane();

inline void wait_for_previous() {}
inline void let_next_start() {}
inline void copy16_async(void* shared, const void* global) { std::memcpy(shared, global, 16); }
inline void commit_copies() {}
inline void fetch_line(const void*) {}
template <int Pending>
void wait_copies() {}
inline uint4 load16_once(const void* at) {
  uint4 v;
  std::memcpy(&v, at, 16);
  return v;
}
void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

}  // namespace rft::kernels::emulator

inline void __syncthreads() { rft::kernels::emulator::block_barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { rft::kernels::emulator::warp_barrier(mask); }
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int offset) {
  return rft::kernels::emulator::from_lane(mask, v, rft::kernels::emulator::lane() ^ offset);
}
template <class T>
T __shfl_sync(unsigned mask, T v, int lane) {
  return rft::kernels::emulator::from_lane(mask, v, lane & 31);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned offset) {
  int own = rft::kernels::emulator::lane(), from = own + static_cast<int>(offset);
  return rft::kernels::emulator::from_lane(mask, v, from < 32 ? from : own);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned offset) {
  int own = rft::kernels::emulator::lane(), from = own - static_cast<int>(offset);
  return rft::kernels::emulator::from_lane(mask, v, from >= 0 ? from : own);
}
unsigned __ballot_sync(unsigned mask, bool predicate);
inline bool __any_sync(unsigned mask, bool predicate) { return __ballot_sync(mask, predicate) != 0; }
inline bool __all_sync(unsigned mask, bool predicate) { return __ballot_sync(mask, !predicate) == 0; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }

template <class T>
T __ldg(const T* at) {
  return *at;
}
template <class T, class U>
T atomicAdd(T* at, U v) {
  T old = *at;
  *at = static_cast<T>(old + v);
  return old;
}
template <class T, class U>
T atomicMax(T* at, U v) {
  T old = *at;
  if (static_cast<T>(v) > old) *at = static_cast<T>(v);
  return old;
}
inline void __threadfence() {}

inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __uint_as_float(unsigned x) {
  float out;
  std::memcpy(&out, &x, 4);
  return out;
}
inline unsigned __float_as_uint(float x) {
  unsigned out;
  std::memcpy(&out, &x, 4);
  return out;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
template <class T, class U>
T atomicMin(T* at, U v) {
  T old = *at;
  if (static_cast<T>(v) < old) *at = static_cast<T>(v);
  return old;
}
