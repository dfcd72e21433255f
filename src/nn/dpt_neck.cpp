#include "nn/dpt_neck.h"

#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/error.h"

namespace rft {
namespace {

bool whole(double x) { return x >= 1 && x == std::floor(x); }

}  // namespace

DptShape read_dpt_shape(ModelConfig& c, DptShape shape) {
  shape.channels = c.integers("neck_hidden_sizes", shape.channels);
  shape.factors = c.numbers("reassemble_factors", {4, 2, 1, 0.5});
  shape.fusion = c.integer("fusion_hidden_size", shape.fusion);
  c.only("head_in_index", {-1});
  if (shape.channels.empty()) c.refuse("neck_hidden_sizes", "must have at least one number");
  for (int64_t channels : shape.channels)
    if (channels < 1) c.refuse("neck_hidden_sizes", "must be at least 1");
  if (shape.factors.size() != shape.channels.size())
    c.refuse("reassemble_factors", cat("must have ", shape.channels.size(), " numbers, as neck_hidden_sizes has"));
  for (double factor : shape.factors)
    if (!(factor > 0) || !whole(factor < 1 ? 1 / factor : factor))
      c.refuse("reassemble_factors", "must be whole numbers, or 1 over one");
  if (shape.fusion < 2) c.refuse("fusion_hidden_size", "must be at least 2");
  return shape;
}

DptNeck::DptNeck(const WeightSource& source, const DptShape& shape) : shape_(shape) {
  const size_t count = shape.channels.size();
  for (size_t i = 0; i < count; ++i) {
    read_reassemble(source.in("reassemble_stage"), i);
    convolutions_.push_back(source.conv(cat("convs.", i), shape.channels[i], shape.fusion, 3, 1, 1, false));
  }
  for (size_t i = 0; i < count; ++i) {
    WeightSource layer = source.in(cat("fusion_stage.layers.", i));
    Fusion fusion;
    fusion.entering = read_residual(layer.in("residual_layer1")),
    fusion.merged = read_residual(layer.in("residual_layer2"));
    fusion.project = layer.conv("projection", shape.fusion, shape.fusion, 1);
    fusions_.push_back(std::move(fusion));
  }
}

void DptNeck::read_reassemble(const WeightSource& source, size_t i) {
  WeightSource layer = source.in(cat("layers.", i));
  const int64_t channels = shape_.channels[i];
  const double factor = shape_.factors[i];
  Reassemble out;
  if (shape_.readout == "project")
    out.readout = source.linear(cat("readout_projects.", i, ".0"), 2 * shape_.width, shape_.width);
  out.project = layer.conv("projection", shape_.width, channels, 1);
  if (factor > 1) {  // [in, out, k, k] of a transposed convolution: a square one here
    auto times = static_cast<int64_t>(factor);
    out.resize = layer.conv("resize", channels, channels, times, times);
  } else if (factor < 1) {
    out.resize = layer.conv("resize", channels, channels, 3, static_cast<int64_t>(1 / factor), 1);
  }
  reassembled_.push_back(std::move(out));
}

DptNeck::Residual DptNeck::read_residual(const WeightSource& source) const {
  const int64_t width = shape_.fusion;
  Residual out;
  out.first = source.conv("convolution1", width, width, 3, 1, 1, shape_.bias);
  out.second = source.conv("convolution2", width, width, 3, 1, 1, shape_.bias);
  if (shape_.batch_norm) {
    out.first_norm = read_batch_norm(source, "batch_norm1", width);
    out.second_norm = read_batch_norm(source, "batch_norm2", width);
  }
  return out;
}

Tensor DptNeck::operator()(const std::vector<Tensor>& states, int64_t height, int64_t width) const {
  std::vector<Tensor> maps;
  for (size_t i = 0; i < reassembled_.size(); ++i)
    maps.push_back(apply(convolutions_[i], reassemble(i, states.at(i), height, width)));
  Tensor x;
  for (size_t i = 0; i < fusions_.size(); ++i) {
    const Fusion& fusion = fusions_[i];
    const size_t at = maps.size() - 1 - i;  // the coarsest first
    if (!x.defined()) {
      x = maps[at];
    } else {
      Tensor entering = maps[at];
      if (entering.sizes() != x.sizes())
        entering = at::upsample_bilinear2d(entering, x.sizes().slice(2), /*align_corners=*/false);
      x = x.add(residual(fusion.entering, entering));
    }
    x = residual(fusion.merged, x);
    std::vector<int64_t> size{2 * x.size(2), 2 * x.size(3)};
    if (shape_.fit && at > 0) size = maps[at - 1].sizes().slice(2).vec();
    x = apply(fusion.project, at::upsample_bilinear2d(x, size, /*align_corners=*/true));
  }
  return x;
}

Tensor DptNeck::reassemble(size_t i, const Tensor& tokens, int64_t height, int64_t width) const {
  const Reassemble& layer = reassembled_[i];
  Tensor first = tokens.narrow(1, 0, 1), x = tokens.narrow(1, 1, tokens.size(1) - 1);
  if (shape_.readout == "add") x = x.add(first);
  if (layer.readout)
    x = activate(shape_.activation, apply(*layer.readout, at::cat({x, first.expand_as(x)}, -1)), "hidden_act");
  x = apply(layer.project, x.transpose(1, 2).reshape({x.size(0), x.size(2), height, width}));
  if (shape_.factors[i] > 1)
    return at::conv_transpose2d(x, layer.resize.weight, layer.resize.bias, layer.resize.stride);
  return shape_.factors[i] < 1 ? apply(layer.resize, x) : x;
}

Tensor DptNeck::residual(const Residual& layer, const Tensor& x) {
  Tensor y = apply(layer.first, at::relu(x));
  if (layer.first_norm) y = apply(*layer.first_norm, y);
  y = apply(layer.second, at::relu(y));
  if (layer.second_norm) y = apply(*layer.second_norm, y);
  return x.add(y);
}

}  // namespace rft
