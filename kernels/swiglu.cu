#include "kernels/device.h"
#include "kernels/packs.h"
#include "kernels/swiglu.h"

namespace rft::kernels {
namespace {

constexpr int kThreads = 256;

template <class T, int Size>
__global__ void __launch_bounds__(kThreads) forward(const T* x, int64_t rows, int64_t width, T* y) {
  const int64_t packs = width / Size, at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= rows * packs) return;
  const int64_t row = at / packs, column = at % packs * Size;
  const auto gate = *reinterpret_cast<const Pack<T, Size>*>(x + row * 2 * width + column);
  const auto up = *reinterpret_cast<const Pack<T, Size>*>(x + row * 2 * width + width + column);
  Pack<T, Size> made;
#pragma unroll
  for (int i = 0; i < Size; ++i)
    made.at[i] = from_float<T>(to_float(from_float<T>(silu(to_float(gate.at[i])))) * to_float(up.at[i]));
  *reinterpret_cast<Pack<T, Size>*>(y + row * width + column) = made;
}

template <class T, int Size>
__global__ void __launch_bounds__(kThreads) backward(const T* dy, const T* x, int64_t rows, int64_t width, T* dx) {
  const int64_t packs = width / Size, at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= rows * packs) return;
  const int64_t row = at / packs, column = at % packs * Size;
  const auto gate = *reinterpret_cast<const Pack<T, Size>*>(x + row * 2 * width + column);
  const auto up = *reinterpret_cast<const Pack<T, Size>*>(x + row * 2 * width + width + column);
  const auto g = *reinterpret_cast<const Pack<T, Size>*>(dy + row * width + column);
  Pack<T, Size> dgate, dup;
#pragma unroll
  for (int i = 0; i < Size; ++i) {
    const float z = to_float(gate.at[i]), d = to_float(g.at[i]);
    dgate.at[i] = from_float<T>(d * to_float(up.at[i]) * silu_slope(z));
    dup.at[i] = from_float<T>(d * silu(z));
  }
  *reinterpret_cast<Pack<T, Size>*>(dx + row * 2 * width + column) = dgate;
  *reinterpret_cast<Pack<T, Size>*>(dx + row * 2 * width + width + column) = dup;
}

}  // namespace

int swiglu_forward(const void* x, NumberType type, int64_t rows, int64_t width, void* y, void* stream) {
  return with_packs(type, width, {x, y}, [&](auto number, auto count) {
    using T = decltype(number);
    return launch(forward<T, count.value>, {{blocks_for(rows * (width / count.value), kThreads)}, kThreads, stream},
                  static_cast<const T*>(x), rows, width, static_cast<T*>(y));
  });
}

int swiglu_backward(const void* dy, const void* x, NumberType type, int64_t rows, int64_t width, void* dx,
                    void* stream) {
  return with_packs(type, width, {dy, x, dx}, [&](auto number, auto count) {
    using T = decltype(number);
    return launch(backward<T, count.value>, {{blocks_for(rows * (width / count.value), kThreads)}, kThreads, stream},
                  static_cast<const T*>(dy), static_cast<const T*>(x), rows, width, static_cast<T*>(dx));
  });
}

}  // namespace rft::kernels
