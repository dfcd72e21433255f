#include "kernels/device.h"
#include "kernels/number_type.h"
#include "kernels/packs.h"
#include "kernels/rms_norm.h"

namespace rft::kernels {
namespace {

constexpr int kWarps = 8;            // rows of a block at once
constexpr int kColumnThreads = 128;  // of the weight's gradient

/// A warp a row. A lane holds Held packs of it in registers, so that all its loads are on their way at once; longer
/// rows are read again (Held = 0).
template <class T, int Size, int Held>
__global__ void __launch_bounds__(kWarps * 32)
    forward(const T* x, const T* weight, float eps, int64_t rows, int64_t size, T* y, float* scale) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32;
  const auto* in = reinterpret_cast<const Pack<T, Size>*>(x + row * size);
  const auto* w = reinterpret_cast<const Pack<T, Size>*>(weight);
  auto* out = reinterpret_cast<Pack<T, Size>*>(y + row * size);
  const int packs = static_cast<int>(size / Size);
  float sum = 0;
  auto add = [&](const Pack<T, Size>& some) {
#pragma unroll
    for (int i = 0; i < Size; ++i) sum += to_float(some.at[i]) * to_float(some.at[i]);
  };
  Pack<T, Size> held[Held ? Held : 1];
  if constexpr (Held > 0) {
#pragma unroll
    for (int p = 0; p < Held; ++p)
      if (lane + 32 * p < packs) held[p] = in[lane + 32 * p];
#pragma unroll
    for (int p = 0; p < Held; ++p)
      if (lane + 32 * p < packs) add(held[p]);
  } else {
    for (int j = lane; j < packs; j += 32) add(in[j]);
  }
  const float s = rsqrtf(warp_sum(sum) / static_cast<float>(size) + eps);
  if (lane == 0) scale[row] = s;
  auto write = [&](int j, const Pack<T, Size>& some) {
    const Pack<T, Size> by = w[j];
    Pack<T, Size> made;
#pragma unroll
    for (int i = 0; i < Size; ++i)
      made.at[i] = from_float<T>(to_float(from_float<T>(to_float(some.at[i]) * s)) * to_float(by.at[i]));
    out[j] = made;
  };
  if constexpr (Held > 0) {
#pragma unroll
    for (int p = 0; p < Held; ++p)
      if (lane + 32 * p < packs) write(lane + 32 * p, held[p]);
  } else {
    for (int j = lane; j < packs; j += 32) write(j, in[j]);
  }
}

template <class T, int Size, int Held>
__global__ void __launch_bounds__(kWarps * 32)
    backward(const T* dy, const T* x, const T* weight, const float* scale, int64_t rows, int64_t size, T* dx) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32;
  const auto* in = reinterpret_cast<const Pack<T, Size>*>(x + row * size);
  const auto* up = reinterpret_cast<const Pack<T, Size>*>(dy + row * size);
  const auto* w = reinterpret_cast<const Pack<T, Size>*>(weight);
  auto* out = reinterpret_cast<Pack<T, Size>*>(dx + row * size);
  const int packs = static_cast<int>(size / Size);
  const float s = scale[row];
  float along = 0;
  auto add = [&](const Pack<T, Size>& some, const Pack<T, Size>& g, const Pack<T, Size>& by) {
#pragma unroll
    for (int i = 0; i < Size; ++i) along += to_float(g.at[i]) * to_float(by.at[i]) * to_float(some.at[i]) * s;
  };
  Pack<T, Size> held[Held ? Held : 1], held_up[Held ? Held : 1];
  if constexpr (Held > 0) {
#pragma unroll
    for (int p = 0; p < Held; ++p)
      if (lane + 32 * p < packs) held[p] = in[lane + 32 * p], held_up[p] = up[lane + 32 * p];
#pragma unroll
    for (int p = 0; p < Held; ++p)
      if (lane + 32 * p < packs) add(held[p], held_up[p], w[lane + 32 * p]);
  } else {
    for (int j = lane; j < packs; j += 32) add(in[j], up[j], w[j]);
  }
  along = warp_sum(along) / static_cast<float>(size);
  auto write = [&](int j, const Pack<T, Size>& some, const Pack<T, Size>& g) {
    const Pack<T, Size> by = w[j];
    Pack<T, Size> made;
#pragma unroll
    for (int i = 0; i < Size; ++i)
      made.at[i] =
          from_float<T>(rms_norm_gradient(to_float(g.at[i]) * to_float(by.at[i]), to_float(some.at[i]), s, along));
    out[j] = made;
  };
  if constexpr (Held > 0) {
#pragma unroll
    for (int p = 0; p < Held; ++p)
      if (lane + 32 * p < packs) write(lane + 32 * p, held[p], held_up[p]);
  } else {
    for (int j = lane; j < packs; j += 32) write(j, in[j], up[j]);
  }
}

/// body(std::integral_constant<int, Held>{}) for rows of so many packs.
template <class Body>
int with_held(int64_t packs, const Body& body) {
  if (packs <= 32) return body(std::integral_constant<int, 1>{});
  if (packs <= 4 * 32) return body(std::integral_constant<int, 4>{});
  if (packs <= 8 * 32) return body(std::integral_constant<int, 8>{});
  return body(std::integral_constant<int, 0>{});
}

/// Block (column block, part): its columns' sums over its share of the rows, always in the same order.
template <class T, int Size>
__global__ void __launch_bounds__(kColumnThreads)
    weight_gradient(const T* dy, const T* x, const float* scale, int64_t rows, int64_t size, int64_t parts,
                    float* partial) {
  const int64_t column = (int64_t{blockIdx.x} * kColumnThreads + threadIdx.x) * Size, part = blockIdx.y;
  if (column >= size) return;
  const int64_t share = (rows + parts - 1) / parts, first = part * share;
  const int64_t end = first + share < rows ? first + share : rows;
  float sums[Size] = {};
#pragma unroll 4
  for (int64_t row = first; row < end; ++row) {
    const auto g = *reinterpret_cast<const Pack<T, Size>*>(dy + row * size + column);
    const auto in = *reinterpret_cast<const Pack<T, Size>*>(x + row * size + column);
    const float s = scale[row];
#pragma unroll
    for (int i = 0; i < Size; ++i) sums[i] += to_float(g.at[i]) * to_float(from_float<T>(to_float(in.at[i]) * s));
  }
#pragma unroll
  for (int i = 0; i < Size; ++i) partial[part * size + column + i] = sums[i];
}

}  // namespace

int rms_norm_forward(const void* x, const void* weight, NumberType type, float eps, int64_t rows, int64_t size, void* y,
                     float* scale, void* stream) {
  return with_packs(type, size, {x, weight, y}, [&](auto number, auto count) {
    using T = decltype(number);
    constexpr int kSize = count.value;
    return with_held(size / kSize, [&](auto held) {
      return launch(forward<T, kSize, held.value>, {{blocks_for(rows, kWarps)}, kWarps * 32, stream},
                    static_cast<const T*>(x), static_cast<const T*>(weight), eps, rows, size, static_cast<T*>(y),
                    scale);
    });
  });
}

int rms_norm_backward(const void* dy, const void* x, const void* weight, NumberType type, const float* scale,
                      int64_t rows, int64_t size, void* dx, float* partial, int64_t parts, void* stream) {
  return with_packs(type, size, {dy, x, weight, dx}, [&](auto number, auto count) {
    using T = decltype(number);
    constexpr int kSize = count.value;
    const auto *up = static_cast<const T*>(dy), *in = static_cast<const T*>(x);
    int error = with_held(size / kSize, [&](auto held) {
      return launch(backward<T, kSize, held.value>, {{blocks_for(rows, kWarps)}, kWarps * 32, stream}, up, in,
                    static_cast<const T*>(weight), scale, rows, size, static_cast<T*>(dx));
    });
    if (error || !partial) return error;
    const Grid grid{blocks_for(size / kSize, kColumnThreads), static_cast<unsigned>(parts)};
    return launch(weight_gradient<T, kSize>, {grid, kColumnThreads, stream}, up, in, scale, rows, size, parts, partial);
  });
}

}  // namespace rft::kernels
