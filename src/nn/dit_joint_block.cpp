#include "nn/dit_joint_block.h"

#include <ATen/ATen.h>

namespace rft {

JointBlock::JointBlock(const WeightSource& source, const Shape& shape)
    : shape_(shape),
      norm1_(source, "norm1", shape.width, shape.dual ? 9 : 6),
      norm1_context_(source, "norm1_context", shape.width, shape.last ? 2 : 6) {
  AttentionShape attention{shape.width, shape.heads, /*bias=*/true, shape.qk_norm};
  image_ = image_stream(source.in("attn"), attention);
  text_ = text_stream(source.in("attn"), attention, /*out=*/!shape.last);
  if (shape.dual) dual_ = image_stream(source.in("attn2"), attention);
  ff_ = FeedForward(source, "ff", shape.width);
  if (!shape.last) ff_context_ = FeedForward(source, "ff_context", shape.width);
}

Tensor JointBlock::operator()(const Tensor& tokens, int64_t text_length, const Tensor& told,
                              const Rotation& rotation) const {
  Tensor text = tokens.narrow(1, 0, text_length);
  Tensor image = tokens.narrow(1, text_length, tokens.size(1) - text_length);
  auto m = norm1_(told), c = norm1_context_(told);
  // The last block's two vectors are scale and shift, in this order; elsewhere the shift is first.
  Tensor text_in = shape_.last ? modulated(text, c[1], c[0]) : modulated(text, c[0], c[1]);
  auto mixed = attend({{&text_, text_in}, {&image_, modulated(image, m[0], m[1])}}, shape_.heads, rotation);
  Tensor y = gated(image, m[2], mixed[1]);
  if (dual_) y = gated(y, m[8], attend({{&*dual_, modulated(image, m[6], m[7])}}, shape_.heads)[0]);
  y = gated(y, m[5], ff_(modulated(y, m[3], m[4])));
  return shape_.last ? y : at::cat({text_out(text, c, mixed[0]), y}, 1);
}

Tensor JointBlock::text_out(const Tensor& text, const std::vector<Tensor>& told, const Tensor& mixed) const {
  Tensor y = gated(text, told[2], mixed);
  return gated(y, told[5], ff_context_(modulated(y, told[3], told[4])));
}

}  // namespace rft
