#include "nn/spatial_transformer.h"

#include <ATen/ATen.h>

namespace rft {

SpatialTransformer::SpatialTransformer(const WeightSource& source, const Shape& shape)
    : shape_(shape), norm_(source.norm("norm", shape.channels)) {
  int64_t C = shape.channels;
  if (shape.linear_projection)
    linear_in_ = source.linear("proj_in", C, C), linear_out_ = source.linear("proj_out", C, C);
  else
    conv_in_ = source.conv("proj_in", C, C, 1), conv_out_ = source.conv("proj_out", C, C, 1);
  for (int64_t i = 0; i < shape.layers; ++i)
    blocks_.emplace_back(source.in("transformer_blocks." + std::to_string(i)), C, shape.heads, shape.cross_dim);
}

Tensor SpatialTransformer::operator()(const Tensor& x, const Tensor& text) const {
  auto to_rows = [](const Tensor& map) { return map.flatten(2).transpose(1, 2).contiguous(); };
  auto to_map = [&](const Tensor& rows) { return rows.transpose(1, 2).reshape(x.sizes()); };
  Tensor h = group_norm(norm_, x, shape_.groups, 1e-6);
  Tensor rows = linear_in_ ? apply(*linear_in_, to_rows(h)) : to_rows(apply(conv_in_, h));
  for (const AttentionBlock& block : blocks_) rows = block(rows, text);
  h = linear_out_ ? to_map(apply(*linear_out_, rows)) : apply(conv_out_, to_map(rows));
  return h.add(x);
}

}  // namespace rft
