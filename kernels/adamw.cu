#include "kernels/adamw.h"
#include "kernels/device.h"
#include "kernels/packs.h"

namespace rft::kernels {
namespace {

constexpr int kThreads = 256;

template <class T, int Size>
__global__ void __launch_bounds__(kThreads)
    step(const T* gradient, AdamW options, int64_t n, float* master, float* mean, float* square, T* narrow) {
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * Size;
  if (at >= n) return;
  const auto g = *reinterpret_cast<const Pack<T, Size>*>(gradient + at);
  auto w = *reinterpret_cast<Pack<float, Size>*>(master + at), m = *reinterpret_cast<Pack<float, Size>*>(mean + at),
       v = *reinterpret_cast<Pack<float, Size>*>(square + at);
  Pack<T, Size> rounded;
#pragma unroll
  for (int i = 0; i < Size; ++i) {
    adamw_step(options, to_float(g.at[i]), w.at[i], m.at[i], v.at[i]);
    rounded.at[i] = from_float<T>(w.at[i]);
  }
  *reinterpret_cast<Pack<float, Size>*>(master + at) = w;
  *reinterpret_cast<Pack<float, Size>*>(mean + at) = m;
  *reinterpret_cast<Pack<float, Size>*>(square + at) = v;
  if (narrow) *reinterpret_cast<Pack<T, Size>*>(narrow + at) = rounded;
}

}  // namespace

int adamw(const void* gradient, NumberType type, const AdamW& options, int64_t n, float* master, float* mean,
          float* square, void* narrow, void* stream) {
  return with_type(type, [&](auto number) {
    using T = decltype(number);
    auto start = [&](auto count) {
      return launch(step<T, count.value>, {{blocks_for(n, int64_t{kThreads} * count.value)}, kThreads, stream},
                    static_cast<const T*>(gradient), options, n, master, mean, square, static_cast<T*>(narrow));
    };
    bool whole = n % 4 == 0;
    for (const void* at : {gradient, static_cast<const void*>(master), static_cast<const void*>(mean),
                           static_cast<const void*>(square), static_cast<const void*>(narrow)})
      whole = whole && reinterpret_cast<uintptr_t>(at) % 16 == 0;
    return whole ? start(std::integral_constant<int, 4>{}) : start(std::integral_constant<int, 1>{});
  });
}

}  // namespace rft::kernels
