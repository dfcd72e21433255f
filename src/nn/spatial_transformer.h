#pragma once
/// Attention of pixels to each other and to a text (diffusers' Transformer2DModel of U-Nets).
#include <vector>

#include "nn/attention_block.h"

namespace rft {

struct SpatialTransformer {
  struct Shape {
    int64_t channels = 0, heads = 8, layers = 1, cross_dim = 0, groups = 32;
    bool linear_projection = false;
  };
  SpatialTransformer(const WeightSource& source, const Shape& shape);
  /// x [N, C, h, w], text [N, L, cross_dim] -> [N, C, h, w].
  Tensor operator()(const Tensor& x, const Tensor& text) const;

 private:
  Shape shape_;
  Norm norm_;
  Conv2d conv_in_, conv_out_;
  std::shared_ptr<Linear> linear_in_, linear_out_;
  std::vector<AttentionBlock> blocks_;
};

}  // namespace rft
