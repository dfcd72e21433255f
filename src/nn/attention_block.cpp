#include "nn/attention_block.h"

#include <ATen/ATen.h>

#include "rft/ops/attention.h"

namespace rft {

AttentionBlock::AttentionBlock(const WeightSource& source, int64_t channels, int64_t heads, int64_t from)
    : channels_(channels), heads_(heads) {
  int64_t C = channels;
  norm1_ = source.norm("norm1", C), norm2_ = source.norm("norm2", C), norm3_ = source.norm("norm3", C);
  first_ = attention(source.in("attn1"), C), second_ = attention(source.in("attn2"), from);
  up_ = source.linear("ff.net.0.proj", C, 8 * C), down_ = source.linear("ff.net.2", 4 * C, C);
}

AttentionBlock::Attention AttentionBlock::attention(const WeightSource& source, int64_t from) const {
  int64_t C = channels_;
  return {source.linear("to_q", C, C, false), source.linear("to_k", from, C, false),
          source.linear("to_v", from, C, false), source.linear("to_out.0", C, C)};
}

Tensor AttentionBlock::attend(const Attention& attention, const Tensor& x, const Tensor& from) const {
  auto heads = [&](const Linear& linear, const Tensor& y) {
    Tensor rows = apply(linear, y);
    return rows.view({y.size(0), y.size(1), heads_, channels_ / heads_}).transpose(1, 2);
  };
  return apply(*attention.out,
               ops::attention(heads(*attention.q, x), heads(*attention.k, from), heads(*attention.v, from)));
}

Tensor AttentionBlock::operator()(Tensor x, const Tensor& other, const Tensor& positions) const {
  constexpr double kEps = 1e-5;
  auto seen = [&](const Norm& norm) {
    Tensor normed = layer_norm(norm, x, kEps);
    return positions.defined() ? normed.add(positions) : normed;
  };
  Tensor normed = seen(norm1_);
  x = x.add(attend(first_, normed, normed));
  normed = seen(norm2_);
  x = x.add(attend(second_, normed, other.defined() ? other : normed));
  auto halves = apply(*up_, layer_norm(norm3_, x, kEps)).chunk(2, -1);
  return x.add(apply(*down_, halves[0].mul(at::gelu(halves[1]))));
}

}  // namespace rft
