#include "policy/unmasking.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

// What a row's key is used for.
enum UnmaskingStream : uint64_t { kOrder = 1, kTokens = 2, kLevels = 3 };

struct Place {
  double when;
  int64_t position;
};

}  // namespace

Tensor unmasking_steps(const std::vector<uint64_t>& keys, const Tensor& undecided, int64_t steps,
                       const std::string& order) {
  int64_t B = undecided.size(0), L = undecided.size(1);
  bool random = order == "random", even = order == "even";
  if (!random && !even && order != "left_to_right") bad_input("rollout.order", "there is no order '", order, "'");
  Tensor mask = undecided.contiguous(), out = at::full({B, L}, -1, at::kLong);
  const bool* open = mask.const_data_ptr<bool>();
  int64_t* step = out.data_ptr<int64_t>();
  std::vector<Place> places;
  for (int64_t b = 0; b < B; ++b) {
    Rng rng(keys[static_cast<size_t>(b)], kOrder);
    places.clear();
    for (int64_t l = 0; l < L; ++l)
      if (open[b * L + l]) places.push_back({order == "left_to_right" ? 0.0 : rng.uniform(l), l});
    std::stable_sort(places.begin(), places.end(), [](const Place& x, const Place& y) { return x.when < y.when; });
    auto count = static_cast<int64_t>(places.size());
    for (int64_t i = 0; i < count; ++i) {
      const Place& place = places[static_cast<size_t>(i)];
      step[b * L + place.position] =
          random ? static_cast<int64_t>(place.when * static_cast<double>(steps)) : i * std::min(steps, count) / count;
    }
  }
  return out;
}

Tensor gumbel(const std::vector<uint64_t>& keys, const Tensor& cells, int64_t length, int64_t vocabulary) {
  Tensor index = cells.contiguous(), out = at::empty({cells.numel(), vocabulary}, at::kDouble);
  const int64_t* cell = index.const_data_ptr<int64_t>();
  double* data = out.data_ptr<double>();
  at::parallel_for(0, cells.numel(), std::max<int64_t>(1, 1024 / vocabulary), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      Rng rng(keys[static_cast<size_t>(cell[m] / length)], kTokens);
      uint64_t first = static_cast<uint64_t>(cell[m] % length) * static_cast<uint64_t>(vocabulary);
      for (int64_t v = 0; v < vocabulary; ++v) {
        double u = std::max(rng.uniform(first + static_cast<uint64_t>(v)), 0x1.0p-54);
        data[m * vocabulary + v] = -std::log(-std::log(u));
      }
    }
  });
  return out;
}

Tensor uniform_cells(const std::vector<uint64_t>& keys, int64_t length) {
  Tensor out = at::empty({static_cast<int64_t>(keys.size()), length}, at::kDouble);
  double* data = out.data_ptr<double>();
  for (size_t b = 0; b < keys.size(); ++b)
    for (int64_t l = 0; l < length; ++l)
      data[static_cast<int64_t>(b) * length + l] = Rng(keys[b], kLevels).uniform(static_cast<uint64_t>(l));
  return out;
}

}  // namespace rft
