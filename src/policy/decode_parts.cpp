// A forward pass of a decoder of which each process of a group has its part.
#include <ATen/ATen.h>

#include <algorithm>

#include "policy/decode_model.h"

namespace rft {

/// The sum over the processes of a divided decoder, in place.
void DecodeModel::sum_parts(float* values, int64_t count) const {
  if (group_) group_->sum(at::from_blob(values, {count}));
}

/// y = last(x), of which each process has some columns of the weight.
void DecodeModel::add_parts(const LinearView& last, const float* x, int64_t rows, float* y) {
  const int64_t out = last.weight.out;
  ops::decode_linear(x, last.weight.in, rows, last.weight, nullptr, y, out);
  sum_parts(y, rows * out);
  if (!last.bias.data) return;
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t i = 0; i < out; ++i) y[n * out + i] += last.bias.data[i];
  }
}

/// logits_ [outputs, vocab] of normed_: each process's tokens, put side by side.
void DecodeModel::gather_logits(int64_t outputs) {
  const int64_t dim = config_.hidden_size;
  const int64_t size = group_->size(), most = (vocab() + size - 1) / size;
  shared_.resize(static_cast<size_t>(size * outputs * most));
  ops::decode_linear(normed_.data(), dim, outputs, head_, nullptr, shared_.data() + group_->rank() * outputs * most,
                     most);
  group_->share_parts(at::from_blob(shared_.data(), {size * outputs * most}));
  for (int64_t rank = 0; rank < size; ++rank) {
    const Share theirs = share_of(vocab(), rank, size);
    for (int64_t n = 0; n < outputs; ++n) {
      const float* from = shared_.data() + (rank * outputs + n) * most;
      std::copy(from, from + theirs.count, logits_.data() + n * vocab() + theirs.first);
    }
  }
}

}  // namespace rft
