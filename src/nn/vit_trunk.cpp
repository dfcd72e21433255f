#include "nn/vit_trunk.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"

namespace rft {
namespace {

/// What ViT and DINOv2 name alike; `shape` has the values of missing fields.
void read_shared(ModelConfig& c, VitShape& shape) {
  shape.width = c.integer("hidden_size", shape.width), shape.heads = c.integer("num_attention_heads", shape.heads);
  shape.layers = c.integer("num_hidden_layers", shape.layers);
  shape.eps = c.number("layer_norm_eps", shape.eps), shape.activation = c.text("hidden_act", shape.activation);
  shape.image = c.integer("image_size", shape.image), shape.channels = c.integer("num_channels", shape.channels);
  shape.patch = c.integer("patch_size", shape.patch), shape.bias = c.flag("qkv_bias", shape.bias);
  c.only("hidden_dropout_prob", {0.0}), c.only("attention_probs_dropout_prob", {0.0});
  activate(shape.activation, at::zeros({1}), c.where() + ": `hidden_act`");
  if (shape.patch < 1 || shape.image < 1 || shape.image % shape.patch) c.refuse("patch_size", "must divide image_size");
  if (shape.heads < 1 || shape.width % shape.heads) c.refuse("num_attention_heads", "must divide hidden_size");
  if (shape.channels != 1 && shape.channels != 3) c.refuse("num_channels", "must be 1 or 3");
}

}  // namespace

VitShape read_vit_shape(ModelConfig& c, int64_t image) {
  VitShape shape{.image = image};
  read_shared(c, shape);
  shape.inner = c.integer("intermediate_size", 3072);
  c.ignore({"pooler_act", "pooler_output_size"});
  return shape;
}

VitShape read_dinov2_shape(ModelConfig& c) {
  VitShape shape{.patch = 14, .eps = 1e-6, .dinov2 = true};
  read_shared(c, shape);
  shape.inner = shape.width * c.integer("mlp_ratio", 4);
  c.only("use_swiglu_ffn", {false});
  // The scales are read from the directory; paths are dropped in training alone; mask tokens stand for hidden patches.
  c.ignore({"layerscale_value", "drop_path_rate", "use_mask_token"});
  return shape;
}

VitTrunk::VitTrunk(const WeightSource& source, const VitShape& shape) : shape_(shape) {
  WeightSource embeddings = source.in("embeddings");
  const int64_t tokens = shape.side() * shape.side() + 1;
  class_ = embeddings.tensor("cls_token", {1, 1, shape.width}, Init::zeros);
  position_ = embeddings.tensor("position_embeddings", {1, tokens, shape.width}, Init::uniform, 2500);
  patches_ = embeddings.conv("patch_embeddings.projection", shape.channels, shape.width, shape.patch, shape.patch);
  for (int64_t i = 0; i < shape.layers; ++i)
    layers_.push_back(read_layer(source.in("encoder.layer." + std::to_string(i))));
  norm_ = source.norm("layernorm", shape.width);
  source.ignore("pooler");  // of directories that were made for other heads
  if (shape.dinov2) embeddings.ignore("mask_token");
}

VitTrunk::Layer VitTrunk::read_layer(const WeightSource& source) const {
  WeightSource self = source.in("attention.attention");
  const bool dino = shape_.dinov2;
  const int64_t width = shape_.width;
  Layer layer;
  layer.before = source.norm(dino ? "norm1" : "layernorm_before", width);
  layer.after = source.norm(dino ? "norm2" : "layernorm_after", width);
  layer.query = self.linear("query", width, width, shape_.bias),
  layer.key = self.linear("key", width, width, shape_.bias);
  layer.value = self.linear("value", width, width, shape_.bias);
  layer.out = source.linear("attention.output.dense", width, width);
  layer.up = source.linear(dino ? "mlp.fc1" : "intermediate.dense", width, shape_.inner);
  layer.down = source.linear(dino ? "mlp.fc2" : "output.dense", shape_.inner, width);
  if (dino) {
    layer.scale_attention = source.tensor("layer_scale1.lambda1", {width}, Init::ones);
    layer.scale_mlp = source.tensor("layer_scale2.lambda1", {width}, Init::ones);
  }
  return layer;
}

Tensor VitTrunk::embed(const Tensor& pixels) const {
  if (pixels.size(2) < shape_.patch || pixels.size(3) < shape_.patch)
    bad_input("images", "they must have at least ", shape_.patch, " pixels a side; got ", pixels.sizes());
  Tensor x = apply(patches_, pixels.to(position_.scalar_type()));
  Tensor where = positions(x.size(2), x.size(3));
  x = x.flatten(2).transpose(1, 2);
  return at::cat({class_.expand({x.size(0), 1, shape_.width}), x}, 1).add(where);
}

Tensor VitTrunk::positions(int64_t height, int64_t width) const {
  const int64_t side = shape_.side();
  if (height == side && width == side) return position_;
  Tensor grid = position_.narrow(1, 1, side * side).transpose(1, 2).reshape({1, shape_.width, side, side});
  grid = shape_.dinov2 ? at::upsample_bicubic2d(grid, {height, width}, /*align_corners=*/false)
                       : at::upsample_bilinear2d(grid, {height, width}, /*align_corners=*/false);
  return at::cat({position_.narrow(1, 0, 1), grid.flatten(2).transpose(1, 2)}, 1);
}

Tensor VitTrunk::layer(int64_t i, const Tensor& x) const {
  const Layer& layer = layers_.at(static_cast<size_t>(i));
  auto scaled = [](const Tensor& added, const Tensor& scale) { return scale.defined() ? added.mul(scale) : added; };
  Tensor y = x.add(scaled(attend(layer, layer_norm(layer.before, x, shape_.eps)), layer.scale_attention));
  Tensor wide = activate(shape_.activation, apply(*layer.up, layer_norm(layer.after, y, shape_.eps)), "hidden_act");
  return y.add(scaled(apply(*layer.down, wide), layer.scale_mlp));
}

Tensor VitTrunk::attend(const Layer& layer, const Tensor& x) const {
  auto heads = [&](const Linear& linear) {
    return apply(linear, x).view({x.size(0), x.size(1), shape_.heads, shape_.width / shape_.heads}).transpose(1, 2);
  };
  Tensor mixed = at::scaled_dot_product_attention(heads(*layer.query), heads(*layer.key), heads(*layer.value));
  return apply(*layer.out, mixed.transpose(1, 2).reshape(x.sizes()));
}

}  // namespace rft
