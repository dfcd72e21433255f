#include "rft/core/noise.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <numbers>

#include "rft/core/rng.h"

namespace rft {
namespace {

/// Four uniform 32-bit words give four normal numbers.
void fill(float* out, int64_t count, const Rng& rng) {
  for (int64_t i = 0; i < count; i += 4) {
    auto words = rng.block(static_cast<uint64_t>(i / 4));
    for (int64_t pair = 0; pair < 4 && i + pair < count; pair += 2) {
      double u = (static_cast<double>(words[static_cast<size_t>(pair)]) + 0.5) * 0x1.0p-32;
      double angle = 2 * std::numbers::pi * static_cast<double>(words[static_cast<size_t>(pair + 1)]) * 0x1.0p-32;
      double radius = std::sqrt(-2 * std::log(u));
      out[i + pair] = static_cast<float>(radius * std::cos(angle));
      if (i + pair + 1 < count) out[i + pair + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
}

}  // namespace

Tensor standard_normal(const std::vector<uint64_t>& keys, at::IntArrayRef shape, uint64_t stream) {
  std::vector<int64_t> sizes{static_cast<int64_t>(keys.size())};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  Tensor out = at::empty(sizes, at::kFloat);
  if (out.numel() == 0) return out;
  int64_t count = out.numel() / sizes[0];
  float* data = out.data_ptr<float>();
  at::parallel_for(0, sizes[0], std::max<int64_t>(1, 4096 / count), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      fill(data + row * count, count, Rng(keys[static_cast<size_t>(row)], stream));
  });
  return out;
}

}  // namespace rft
