#include "nn/motion_transformer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/error.h"

namespace rft {
namespace {

/// [1, count, width]: sines in the even places, cosines in the odd ones.
Tensor sinusoids(int64_t count, int64_t width) {
  Tensor rate = at::arange(0, width, 2, at::kFloat).mul(-std::log(10000.0) / static_cast<double>(width)).exp();
  Tensor angle = at::arange(count, at::kFloat).unsqueeze(1).mul(rate);
  return at::stack({angle.sin(), angle.cos()}, 2).flatten(1).unsqueeze(0);
}

}  // namespace

MotionTransformer::MotionTransformer(const WeightSource& source, const Shape& shape)
    : shape_(shape), norm_(source.norm("norm", shape.channels)) {
  int64_t C = shape.channels;
  in_ = source.linear("proj_in", C, C), out_ = source.linear("proj_out", C, C);
  for (int64_t i = 0; i < shape.layers; ++i) {
    WeightSource at = source.in("transformer_blocks." + std::to_string(i));
    positions_.push_back(at.buffer("pos_embed.pe", sinusoids(shape.max_frames, C)));
    blocks_.emplace_back(at, C, shape.heads, C);
  }
}

Tensor MotionTransformer::operator()(const Tensor& x, int64_t frames) const {
  if (frames > shape_.max_frames)
    bad_input("rollout.frames", "the model makes videos of at most ", shape_.max_frames, " frames; got ", frames);
  const int64_t videos = x.size(0) / frames, C = x.size(1), h = x.size(2), w = x.size(3);
  Tensor video = x.view({videos, frames, C, h, w});
  // Normed over all frames together.
  Tensor rows = group_norm(norm_, video.transpose(1, 2).reshape({videos, C, frames * h, w}), shape_.groups, 1e-6);
  rows = rows.view({videos, C, frames, h, w}).permute({0, 3, 4, 2, 1}).reshape({videos * h * w, frames, C});
  rows = apply(*in_, rows);
  for (size_t i = 0; i < blocks_.size(); ++i)
    rows = blocks_[i](rows, {}, positions_[i].select(0, 0).narrow(0, 0, frames));
  rows = apply(*out_, rows).view({videos, h, w, frames, C}).permute({0, 3, 4, 1, 2});
  return video.add(rows).reshape(x.sizes());
}

}  // namespace rft
