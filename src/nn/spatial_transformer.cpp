#include "nn/spatial_transformer.h"

#include <ATen/ATen.h>

#include "rft/ops/attention.h"

namespace rft {

SpatialTransformer::SpatialTransformer(const WeightSource& source, const Shape& shape)
    : shape_(shape), norm_(source.norm("norm", shape.channels)) {
  int64_t C = shape.channels;
  if (shape.linear_projection)
    linear_in_ = source.linear("proj_in", C, C), linear_out_ = source.linear("proj_out", C, C);
  else
    conv_in_ = source.conv("proj_in", C, C, 1), conv_out_ = source.conv("proj_out", C, C, 1);
  for (int64_t i = 0; i < shape.layers; ++i) {
    WeightSource at = source.in("transformer_blocks." + std::to_string(i));
    Block block;
    block.norm1 = at.norm("norm1", C), block.norm2 = at.norm("norm2", C), block.norm3 = at.norm("norm3", C);
    block.self = attention(at.in("attn1"), C), block.cross = attention(at.in("attn2"), shape.cross_dim);
    block.up = at.linear("ff.net.0.proj", C, 8 * C), block.down = at.linear("ff.net.2", 4 * C, C);
    blocks_.push_back(block);
  }
}

SpatialTransformer::Attention SpatialTransformer::attention(const WeightSource& source, int64_t from) const {
  int64_t C = shape_.channels;
  return {source.linear("to_q", C, C, false), source.linear("to_k", from, C, false),
          source.linear("to_v", from, C, false), source.linear("to_out.0", C, C)};
}

Tensor SpatialTransformer::attend(const Attention& attention, const Tensor& x, const Tensor& from) const {
  auto heads = [&](const Linear& linear, const Tensor& y) {
    Tensor rows = apply(linear, y);
    return rows.view({y.size(0), y.size(1), shape_.heads, shape_.channels / shape_.heads}).transpose(1, 2);
  };
  return apply(*attention.out,
               ops::attention(heads(*attention.q, x), heads(*attention.k, from), heads(*attention.v, from)));
}

Tensor SpatialTransformer::run(const Block& block, Tensor x, const Tensor& text) const {
  constexpr double kEps = 1e-5;
  Tensor normed = layer_norm(block.norm1, x, kEps);
  x = x.add(attend(block.self, normed, normed));
  x = x.add(attend(block.cross, layer_norm(block.norm2, x, kEps), text));
  auto halves = apply(*block.up, layer_norm(block.norm3, x, kEps)).chunk(2, -1);
  return x.add(apply(*block.down, halves[0].mul(at::gelu(halves[1]))));
}

Tensor SpatialTransformer::operator()(const Tensor& x, const Tensor& text) const {
  auto to_rows = [](const Tensor& map) { return map.flatten(2).transpose(1, 2).contiguous(); };
  auto to_map = [&](const Tensor& rows) { return rows.transpose(1, 2).reshape(x.sizes()); };
  Tensor h = group_norm(norm_, x, shape_.groups, 1e-6);
  Tensor rows = linear_in_ ? apply(*linear_in_, to_rows(h)) : to_rows(apply(conv_in_, h));
  for (const Block& block : blocks_) rows = run(block, rows, text);
  h = linear_out_ ? to_map(apply(*linear_out_, rows)) : apply(conv_out_, to_map(rows));
  return h.add(x);
}

}  // namespace rft
