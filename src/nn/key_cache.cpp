#include "nn/key_cache.h"

#include <ATen/ATen.h>

#include <limits>

namespace rft {
namespace {

/// Rows of a cache are made for so many tokens at first, and for twice as many when they are full.
constexpr int64_t kFirstTokens = 32;

}  // namespace

Tensor to_heads(const Tensor& x, const Segments& rows, int64_t heads) {
  return rows.pad(x).unflatten(2, {heads, x.size(1) / heads}).transpose(1, 2);
}

Tensor from_heads(const Tensor& heads, const Segments& rows) { return rows.unpad(heads.transpose(1, 2).flatten(2)); }

Tensor attend_padded(const Tensor& q, const AttentionKeys& keys, const Tensor& added, double scale) {
  Tensor scores = (scale == 1 ? q : q.mul(scale)).matmul(keys.k.transpose(2, 3));
  if (added.defined()) scores = scores.add(added);
  if (keys.beyond.defined())
    scores = scores.masked_fill(keys.beyond.unsqueeze(1).unsqueeze(1), -std::numeric_limits<double>::infinity());
  Tensor shares = scores.to(at::promote_types(q.scalar_type(), at::kFloat)).softmax(-1).to(q.scalar_type());
  return shares.matmul(keys.v);
}

AttentionKeys KeyCache::append(size_t layer, const Tensor& k, const Tensor& v) {
  if (layer == 0) ++length_;
  if (layer >= k_.size()) k_.resize(layer + 1), v_.resize(layer + 1);
  return {grown(k_[layer], k), grown(v_[layer], v), {}};
}

Tensor KeyCache::grown(Tensor& all, const Tensor& latest) const {
  const int64_t at = length_ - 1;
  if (!all.defined() || all.size(2) == at) {
    const int64_t room = at == 0 ? kFirstTokens : 2 * at;
    Tensor larger = at::empty({latest.size(0), latest.size(1), room, latest.size(2)}, latest.options());
    if (all.defined()) larger.narrow(2, 0, at).copy_(all);
    all = larger;
  }
  all.select(2, at).copy_(latest);
  return all.narrow(2, 0, length_);
}

void KeyCache::keep(const Tensor& rows) {
  for (auto* part : {&k_, &v_})
    for (Tensor& cached : *part) cached = cached.index_select(0, rows);
}

}  // namespace rft
