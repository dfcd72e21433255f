#include "nn/resnet_block.h"

#include <ATen/ATen.h>

#include "rft/ops/attention.h"

namespace rft {

ResnetBlock::ResnetBlock(const WeightSource& source, const Shape& shape)
    : shape_(shape),
      norm1_(source.norm("norm1", shape.in)),
      norm2_(source.norm("norm2", shape.out)),
      conv1_(source.conv("conv1", shape.in, shape.out, 3, 1, 1)),
      conv2_(source.conv("conv2", shape.out, shape.out, 3, 1, 1)) {
  if (shape.temb_channels)
    time_ = source.linear("time_emb_proj", shape.temb_channels, shape.scale_shift ? 2 * shape.out : shape.out);
  if (shape.in != shape.out) shortcut_ = source.conv("conv_shortcut", shape.in, shape.out, 1);
}

Tensor ResnetBlock::operator()(const Tensor& x, const Tensor& temb) const {
  auto active = [&](const Tensor& y) { return activate(shape_.activation, y, "config.json"); };
  Tensor h = apply(conv1_, active(group_norm(norm1_, x, shape_.groups, shape_.eps)));
  Tensor time = time_ ? apply(*time_, temb).unsqueeze(2).unsqueeze(3) : Tensor();
  if (time.defined() && !shape_.scale_shift) h = h.add(time);
  h = group_norm(norm2_, h, shape_.groups, shape_.eps);
  if (time.defined() && shape_.scale_shift) {
    auto parts = time.chunk(2, 1);
    h = h.mul(parts[0].add(1)).add(parts[1]);
  }
  h = apply(conv2_, active(h));
  Tensor out = (shortcut_.weight.defined() ? apply(shortcut_, x) : x).add(h);
  return shape_.output_scale == 1 ? out : out.div(shape_.output_scale);
}

PixelAttention::PixelAttention(const WeightSource& source, int64_t channels, int64_t head_dim, int64_t groups,
                               double eps, double output_scale)
    : heads_(channels / head_dim),
      groups_(groups),
      eps_(eps),
      output_scale_(output_scale),
      norm_(groups ? source.norm("group_norm", channels) : Norm{}),
      q_(source.linear("to_q", channels, channels)),
      k_(source.linear("to_k", channels, channels)),
      v_(source.linear("to_v", channels, channels)),
      out_(source.linear("to_out.0", channels, channels)) {}

Tensor PixelAttention::operator()(const Tensor& x) const {
  int64_t N = x.size(0), C = x.size(1), pixels = x.size(2) * x.size(3);
  Tensor rows = (groups_ ? group_norm(norm_, x, groups_, eps_) : x).flatten(2).transpose(1, 2);
  auto heads = [&](const Linear& linear) {
    return apply(linear, rows).view({N, pixels, heads_, C / heads_}).transpose(1, 2);
  };
  Tensor y = apply(*out_, ops::attention(heads(*q_), heads(*k_), heads(*v_))).transpose(1, 2).reshape(x.sizes());
  return y.add(x).div(output_scale_);
}

Downsample::Downsample(const WeightSource& source, int64_t channels, int64_t padding)
    : conv_(source.conv("conv", channels, channels, 3, 2, padding)) {}

Tensor Downsample::operator()(const Tensor& x) const {
  return apply(conv_, conv_.padding ? x : at::constant_pad_nd(x, {0, 1, 0, 1}));
}

Upsample::Upsample(const WeightSource& source, int64_t channels)
    : conv_(source.conv("conv", channels, channels, 3, 1, 1)) {}

Tensor Upsample::operator()(const Tensor& x, at::IntArrayRef size) const {
  std::vector<int64_t> target = size.empty() ? std::vector<int64_t>{2 * x.size(2), 2 * x.size(3)} : size.vec();
  return apply(conv_, at::upsample_nearest2d(x, target));
}

}  // namespace rft
