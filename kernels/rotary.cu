#include "kernels/device.h"
#include "kernels/packs.h"
#include "kernels/rotary.h"

namespace rft::kernels {
namespace {

constexpr int kThreads = 256;

/// A thread turns one pack of each half of one head.
template <class T, int Size>
__global__ void __launch_bounds__(kThreads)
    turn(const T* x, const T* cos, const T* sin, RotaryShape s, float sign, T* y) {
  const int64_t packs = s.half / Size, at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= s.tokens * s.heads * packs) return;
  const int64_t column = at % packs * Size, head = at / packs % s.heads, token = at / (packs * s.heads);
  const T* in = x + token * s.stride + head * 2 * s.half + column;
  T* out = y + (token * s.heads + head) * 2 * s.half + column;
  auto a = *reinterpret_cast<const Pack<T, Size>*>(in), b = *reinterpret_cast<const Pack<T, Size>*>(in + s.half);
  if (head < s.rotated) {
    const auto c = *reinterpret_cast<const Pack<T, Size>*>(cos + token * s.half + column);
    const auto n = *reinterpret_cast<const Pack<T, Size>*>(sin + token * s.half + column);
#pragma unroll
    for (int i = 0; i < Size; ++i) {
      const float p = to_float(a.at[i]), q = to_float(b.at[i]), along = to_float(c.at[i]),
                  up = sign * to_float(n.at[i]);
      a.at[i] = from_float<T>(p * along - q * up);
      b.at[i] = from_float<T>(q * along + p * up);
    }
  }
  *reinterpret_cast<Pack<T, Size>*>(out) = a;
  *reinterpret_cast<Pack<T, Size>*>(out + s.half) = b;
}

}  // namespace

int rotary_turn(const void* x, const void* cos, const void* sin, NumberType type, const RotaryShape& shape, float sign,
                void* y, void* stream) {
  const int64_t even = shape.stride % 8 == 0 ? shape.half : 1;  // tokens must start at whole accesses too
  return with_packs(type, even, {x, cos, sin, y}, [&](auto number, auto count) {
    using T = decltype(number);
    const int64_t threads = shape.tokens * shape.heads * (shape.half / count.value);
    return launch(turn<T, count.value>, {{blocks_for(threads, kThreads)}, kThreads, stream}, static_cast<const T*>(x),
                  static_cast<const T*>(cos), static_cast<const T*>(sin), shape, sign, static_cast<T*>(y));
  });
}

}  // namespace rft::kernels
