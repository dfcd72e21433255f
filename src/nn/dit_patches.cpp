#include "nn/dit_patches.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"

namespace rft {
namespace {

/// places [L] float32 -> [L, width] float64. The places are made in float32 and turned in float64, as the peer does.
Tensor sincos(const Tensor& places, int64_t width) {
  Tensor exponent = at::arange(width / 2, at::kDouble).div(static_cast<double>(width) / 2);
  Tensor angle = at::outer(places.to(at::kDouble), at::pow(10000.0, exponent).reciprocal());
  return at::cat({angle.sin(), angle.cos()}, 1);
}

Tensor places(int64_t count, int64_t base) {
  return at::arange(count, at::kFloat).div(static_cast<double>(count) / static_cast<double>(base));
}

}  // namespace

Tensor sincos_positions(int64_t h, int64_t w, int64_t width, int64_t base) {
  Tensor across = sincos(places(w, base), width / 2).unsqueeze(0).expand({h, w, width / 2});
  Tensor down = sincos(places(h, base), width / 2).unsqueeze(1).expand({h, w, width / 2});
  return at::cat({across, down}, 2).view({1, h * w, width}).to(at::kFloat);
}

Patches::Patches(const WeightSource& source, const std::string& name, const Shape& shape) : shape_(shape) {
  WeightSource at = source.in(name);
  proj_ = at.conv("proj", shape.in_channels, shape.width, shape.patch, shape.patch);
  int64_t base = shape.sample_size / shape.patch, side = shape.most ? shape.most : base;
  table_ = sincos_positions(side, side, shape.width, base);
  if (shape.most) table_ = at.buffer("pos_embed", table_);
}

Tensor Patches::positions(int64_t h, int64_t w) const {
  if (!shape_.most) {
    int64_t base = shape_.sample_size / shape_.patch;
    return h == base && w == base ? table_ : sincos_positions(h, w, shape_.width, base);
  }
  if (h > shape_.most || w > shape_.most)
    bad_input("sample", "the model knows places of at most ", shape_.most * shape_.patch, " x ",
              shape_.most * shape_.patch, " (`pos_embed_max_size` patches); got ", h * shape_.patch, " x ",
              w * shape_.patch);
  Tensor grid = table_.view({shape_.most, shape_.most, shape_.width});
  Tensor middle = grid.narrow(0, (shape_.most - h) / 2, h).narrow(1, (shape_.most - w) / 2, w);
  return middle.reshape({1, h * w, shape_.width});
}

Tensor Patches::embed(const Tensor& sample) const {
  Tensor tokens = apply(proj_, sample).flatten(2).transpose(1, 2);
  Tensor places = positions(sample.size(2) / shape_.patch, sample.size(3) / shape_.patch);
  return tokens.add(places.to(tokens.device())).to(sample.scalar_type()).contiguous();
}

Tensor Patches::assemble(const Tensor& tokens, int64_t h, int64_t w) const {
  int64_t p = shape_.patch, N = tokens.size(0);
  Tensor squares = tokens.view({N, h / p, w / p, p, p, shape_.out_channels});
  return squares.permute({0, 5, 1, 3, 2, 4}).reshape({N, shape_.out_channels, h, w});
}

}  // namespace rft
