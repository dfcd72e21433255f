#include "nn/segments.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/ops/gather_rows.h"

namespace rft {

Segments::Segments(const std::vector<int64_t>& lengths) : count_(static_cast<int64_t>(lengths.size())) {
  int64_t tokens = 0;
  for (int64_t length : lengths) {
    TORCH_CHECK(length > 0, "[Segments] a row must have at least one token; got ", length);
    longest_ = std::max(longest_, length), tokens += length;
  }
  if (tokens == count_ * longest_) return;
  padded_ = at::empty({count_ * longest_}, at::kLong), owner_ = at::full_like(padded_, -1);
  packed_ = at::empty({tokens}, at::kLong);
  int64_t *padded = padded_.data_ptr<int64_t>(), *owner = owner_.data_ptr<int64_t>(),
          *packed = packed_.data_ptr<int64_t>(), start = 0;
  for (size_t p = 0; p < lengths.size(); start += lengths[p++]) {
    const int64_t first = static_cast<int64_t>(p) * longest_;
    for (int64_t t = 0; t < longest_; ++t) padded[first + t] = start + std::min(t, lengths[p] - 1);
    for (int64_t t = 0; t < lengths[p]; ++t) owner[first + t] = start + t, packed[start + t] = first + t;
  }
  beyond_ = owner_.lt(0).view({count_, longest_});
}

Tensor Segments::pad(const Tensor& x) const {
  const Tensor cells = padded_.defined() ? ops::gather_rows(x, padded_, packed_) : x;
  return cells.unflatten(0, {count_, longest_});
}

Tensor Segments::unpad(const Tensor& x) const {
  const Tensor cells = x.flatten(0, 1);
  return padded_.defined() ? ops::gather_rows(cells, packed_, owner_) : cells;
}

}  // namespace rft
