// SegformerForSemanticSegmentation of transformers (Xie et al. 2021, arXiv:2105.15203).
#include <ATen/ATen.h>

#include <algorithm>

#include "nn/batch_norm.h"
#include "nn/dense_predictors.h"
#include "nn/transformers_config.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// PyTorch's, which transformers' layers take whatever layer_norm_eps says.
constexpr double kSegformerEps = 1e-5;

struct SegformerShape {
  std::vector<int64_t> depths, widths, heads, reductions, patches, strides, ratios;
  int64_t channels = 3, decoder = 256;
  std::string activation;
};

SegformerShape read_shape(ModelConfig& c) {
  SegformerShape shape;
  auto stages = static_cast<size_t>(c.integer("num_encoder_blocks", 4));
  if (stages < 1) c.refuse("num_encoder_blocks", "must be at least 1");
  auto list = [&](const char* key, std::vector<int64_t> missing) {
    auto values = c.integers(key, missing, stages);
    if (values.size() != stages) c.refuse(key, cat("must have ", stages, " items"));
    if (std::any_of(values.begin(), values.end(), [](int64_t x) { return x < 1; })) c.refuse(key, "must be at least 1");
    return values;
  };
  shape.depths = list("depths", {2, 2, 2, 2}), shape.widths = list("hidden_sizes", {32, 64, 160, 256});
  shape.heads = list("num_attention_heads", {1, 2, 5, 8}), shape.reductions = list("sr_ratios", {8, 4, 2, 1});
  shape.patches = list("patch_sizes", {7, 3, 3, 3}), shape.strides = list("strides", {4, 2, 2, 2});
  shape.ratios = list("mlp_ratios", {4, 4, 4, 4});
  for (size_t i = 0; i < stages; ++i)
    if (shape.widths[i] % shape.heads[i]) c.refuse("num_attention_heads", "must divide hidden_sizes");
  shape.channels = c.integer("num_channels", 3), shape.decoder = c.integer("decoder_hidden_size", 256);
  if (shape.channels != 1 && shape.channels != 3) c.refuse("num_channels", "must be 1 or 3");
  shape.activation = c.text("hidden_act", "gelu");
  activate(shape.activation, at::zeros({1}), c.where() + ": `hidden_act`");
  c.only("model_type", {"segformer"});
  c.only("hidden_dropout_prob", {0.0}), c.only("attention_probs_dropout_prob", {0.0});
  // These drop in training alone, which is not done here; the last stage's tokens come to one map either way.
  c.ignore({"classifier_dropout_prob", "drop_path_rate", "reshape_last_stage"});
  c.ignore({"layer_norm_eps", "semantic_loss_ignore_index", "image_size", "downsampling_rates"});
  return shape;
}

struct Layer {
  Norm before, after, reduced;
  std::shared_ptr<Linear> query, key, value, out, up, down;
  Conv2d reduce, depthwise;
};

struct Stage {
  int64_t heads = 1, reduction = 1;
  Conv2d patches = {};
  Norm embedded = {}, norm = {};
  std::vector<Layer> layers = {};
};

/// x [N, C, h, w] -> [N, h w, C].
Tensor to_tokens(const Tensor& x) { return x.flatten(2).transpose(1, 2); }
/// x [N, h w, C] -> [N, C, h, w].
Tensor to_map(const Tensor& x, int64_t height, int64_t width) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), height, width});
}

Layer read_layer(const WeightSource& source, int64_t width, int64_t inner, int64_t reduction) {
  WeightSource self = source.in("attention.self");
  Layer layer;
  layer.before = source.norm("layer_norm_1", width), layer.after = source.norm("layer_norm_2", width);
  layer.query = self.linear("query", width, width), layer.key = self.linear("key", width, width);
  layer.value = self.linear("value", width, width);
  layer.out = source.linear("attention.output.dense", width, width);
  if (reduction > 1) {
    layer.reduce = self.conv("sr", width, width, reduction, reduction);
    layer.reduced = self.norm("layer_norm", width);
  }
  layer.up = source.linear("mlp.dense1", width, inner), layer.down = source.linear("mlp.dense2", inner, width);
  layer.depthwise = source.conv("mlp.dwconv.dwconv", 1, inner, 3, 1, 1);
  return layer;
}

class Segformer : public DensePredictor {
 public:
  Segformer(const std::string& json, const std::string& preprocessor, const WeightSource& source,
            const std::string& where)
      : json_(json) {
    ModelConfig c(json, where);
    SegformerShape shape = read_shape(c);
    labels_ = label_names(c), activation_ = shape.activation;
    ignore_general_fields(c);
    c.finish();
    DenseInput usual{.height = 512, .width = 512, .bilinear = true};
    usual.pixels.channels = shape.channels;
    usual.pixels.mean = {0.485, 0.456, 0.406}, usual.pixels.std = {0.229, 0.224, 0.225};  // ImageNet's
    input_ = read_dense_input(preprocessor, usual, where);
    for (size_t i = 0; i < shape.depths.size(); ++i) read_stage(source.in("segformer.encoder"), shape, i);
    read_head(source.in("decode_head"), shape);
    weights_ = source.finish();
  }

  Tensor forward(const Tensor& images) const override {
    Tensor x = input_(images).to(fuse_.weight.scalar_type());
    std::vector<Tensor> maps;
    for (size_t i = 0; i < stages_.size(); ++i) {
      x = encode(stages_[i], x);
      Tensor map = to_map(apply(*unify_[i], to_tokens(x)), x.size(2), x.size(3));
      if (i > 0) map = at::upsample_bilinear2d(map, maps[0].sizes().slice(2), /*align_corners=*/false);
      maps.push_back(map);
    }
    std::reverse(maps.begin(), maps.end());
    return apply(classifier_, at::relu(apply(batch_norm_, apply(fuse_, at::cat(maps, 1)))));
  }

  const std::vector<std::string>& labels() const override { return labels_; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  void read_stage(const WeightSource& encoder, const SegformerShape& shape, size_t i) {
    const std::string number = std::to_string(i);
    const int64_t width = shape.widths[i], patch = shape.patches[i];
    WeightSource embeddings = encoder.in("patch_embeddings." + number);
    Stage stage{.heads = shape.heads[i], .reduction = shape.reductions[i]};
    stage.patches =
        embeddings.conv("proj", i ? shape.widths[i - 1] : shape.channels, width, patch, shape.strides[i], patch / 2);
    stage.embedded = embeddings.norm("layer_norm", width);
    for (int64_t j = 0; j < shape.depths[i]; ++j)
      stage.layers.push_back(
          read_layer(encoder.in(cat("block.", number, ".", j)), width, width * shape.ratios[i], stage.reduction));
    stage.norm = encoder.norm("layer_norm." + number, width);
    stages_.push_back(std::move(stage));
  }

  void read_head(const WeightSource& head, const SegformerShape& shape) {
    const auto stages = static_cast<int64_t>(shape.widths.size());
    for (int64_t i = 0; i < stages; ++i)
      unify_.push_back(head.linear(cat("linear_c.", i, ".proj"), shape.widths[static_cast<size_t>(i)], shape.decoder));
    fuse_ = head.conv("linear_fuse", shape.decoder * stages, shape.decoder, 1, 1, 0, false);
    batch_norm_ = read_batch_norm(head, "batch_norm", shape.decoder);
    classifier_ = head.conv("classifier", shape.decoder, static_cast<int64_t>(labels_.size()), 1);
  }

  /// x [N, C, h, w] -> [N, width, h / stride, w / stride].
  Tensor encode(const Stage& stage, const Tensor& x) const {
    Tensor map = apply(stage.patches, x);
    const int64_t height = map.size(2), width = map.size(3);
    if (height < stage.reduction || width < stage.reduction)
      bad_input("images", "the resized images are too small for sr_ratios: a stage of ", height, " x ", width,
                " places is reduced by ", stage.reduction);
    Tensor tokens = layer_norm(stage.embedded, to_tokens(map), kSegformerEps);
    for (const Layer& layer : stage.layers) {
      tokens = tokens.add(attend(stage, layer, layer_norm(layer.before, tokens, kSegformerEps), height, width));
      Tensor wide = to_map(apply(*layer.up, layer_norm(layer.after, tokens, kSegformerEps)), height, width);
      wide = at::conv2d(wide, layer.depthwise.weight, layer.depthwise.bias, 1, 1, 1, /*groups=*/wide.size(1));
      tokens = tokens.add(apply(*layer.down, activate(activation_, to_tokens(wide), "hidden_act")));
    }
    return to_map(layer_norm(stage.norm, tokens, kSegformerEps), height, width);
  }

  /// Every place attends to the places of a map that is `reduction` times as coarse.
  static Tensor attend(const Stage& stage, const Layer& layer, const Tensor& x, int64_t height, int64_t width) {
    Tensor seen = x;
    if (stage.reduction > 1)
      seen = layer_norm(layer.reduced, to_tokens(apply(layer.reduce, to_map(x, height, width))), kSegformerEps);
    auto heads = [&](const Linear& linear, const Tensor& of) {
      return apply(linear, of).view({of.size(0), of.size(1), stage.heads, of.size(2) / stage.heads}).transpose(1, 2);
    };
    Tensor mixed =
        at::scaled_dot_product_attention(heads(*layer.query, x), heads(*layer.key, seen), heads(*layer.value, seen));
    return apply(*layer.out, mixed.transpose(1, 2).reshape(x.sizes()));
  }

  std::string json_, activation_;
  DenseInput input_;
  std::vector<std::string> labels_;
  std::vector<Stage> stages_;
  std::vector<std::shared_ptr<Linear>> unify_;
  Conv2d fuse_, classifier_;
  BatchNorm batch_norm_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<DensePredictor> make_segformer(const std::string& config_json, const std::string& preprocessor_json,
                                               const WeightSource& source, const std::string& where) {
  return std::make_unique<Segformer>(config_json, preprocessor_json, source, where);
}

}  // namespace rft
