// DPTForDepthEstimation (Ranftl et al. 2021, arXiv:2103.13413) and DepthAnythingForDepthEstimation (Yang et al. 2024,
// arXiv:2401.10891) of transformers: a vision transformer, a neck, three convolutions.
#include <ATen/ATen.h>

#include <algorithm>

#include "nn/dense_predictors.h"
#include "nn/dpt_neck.h"
#include "nn/transformers_config.h"
#include "nn/vit_trunk.h"
#include "rft/core/error.h"

namespace rft {
namespace {

const std::vector<double> kImageNetMean = {0.485, 0.456, 0.406}, kImageNetStd = {0.229, 0.224, 0.225};

/// What config.json says of either.
struct DepthShape {
  std::string prefix;  ///< of the transformer's tensors
  VitShape vit = {};
  std::vector<int64_t> layers = {};  ///< after which the neck takes the tokens, ascending, from 0
  bool norm = false;                 ///< whether the transformer's last norm is applied to them
  DptShape neck = {};
  std::vector<std::string> head = {};  ///< the convolutions' names
  int64_t head_width = 32;
  bool metric = false;  ///< depth is largest * sigmoid, else largest * relu
  double largest = 1;
};

/// Other libraries' backbones, by name, and whether their weights were once taken from somewhere else.
void refuse_named_backbones(ModelConfig& c) {
  c.only("backbone"), c.only("backbone_kwargs"), c.only("use_timm_backbone", {false});
  c.ignore({"use_pretrained_backbone"});
}

/// As many layers as the neck has maps, each one of the transformer's.
void check_layers(ModelConfig& c, const char* key, const DepthShape& shape) {
  if (shape.layers.size() != shape.neck.channels.size())
    c.refuse(key, cat("must have ", shape.neck.channels.size(), " numbers, as neck_hidden_sizes has"));
  for (size_t i = 0; i < shape.layers.size(); ++i)
    if (shape.layers[i] < 0 || shape.layers[i] >= shape.vit.layers || (i && shape.layers[i] <= shape.layers[i - 1]))
      c.refuse(key, "must be ascending layers of the transformer");
}

DepthShape read_dpt(ModelConfig& c) {
  DepthShape shape{.prefix = "dpt", .head = {"head.0", "head.2", "head.4"}};
  c.only("model_type", {"dpt"}), c.only("is_hybrid", {false}), c.only("backbone_config");
  refuse_named_backbones(c);
  shape.vit = read_vit_shape(c, 384);
  DptShape neck{.width = shape.vit.width, .channels = {96, 192, 384, 768}, .activation = shape.vit.activation};
  c.only("readout_type", {"ignore", "add", "project"});
  neck.readout = c.text("readout_type", "project");
  neck.batch_norm = c.flag("use_batch_norm_in_fusion_residual", false);
  neck.bias = c.flag("use_bias_in_fusion_residual", !neck.batch_norm);
  shape.neck = read_dpt_shape(c, neck);
  shape.layers = c.integers("backbone_out_indices", {2, 5, 8, 11});
  check_layers(c, "backbone_out_indices", shape);
  c.only("add_projection", {false});
  // Of hybrids, and of the heads for segmentation.
  c.ignore({"backbone_featmap_shape", "neck_ignore_stages", "use_auxiliary_head", "auxiliary_loss_weight",
            "semantic_loss_ignore_index", "semantic_classifier_dropout"});
  return shape;
}

DepthShape read_depth_anything(ModelConfig& c) {
  DepthShape shape{.prefix = "backbone", .norm = true, .head = {"conv1", "conv2", "conv3"}};
  c.only("model_type", {"depth_anything"});
  refuse_named_backbones(c);
  if (!c.raw("backbone_config").is_object()) c.refuse("backbone_config", "must describe a DINOv2 model");
  ModelConfig b = ModelConfig::of(c.raw("backbone_config"), c.where() + ": backbone_config");
  if (b.text("model_type", "") != "dinov2") b.refuse("model_type", "can only be \"dinov2\"");
  shape.vit = read_dinov2_shape(b);
  shape.norm = b.flag("apply_layernorm", true);
  if (b.has("out_features") && !b.has("out_indices")) b.refuse("out_features", "needs out_indices beside it");
  for (int64_t index : b.integers("out_indices", {9, 10, 11, 12})) shape.layers.push_back(index - 1);  // 0: embeddings
  b.only("reshape_hidden_states", {false});
  b.ignore({"out_features", "stage_names"});  // out_indices in words
  ignore_general_fields(b);
  b.finish();
  shape.neck = read_dpt_shape(c, {.width = shape.vit.width, .channels = {48, 96, 192, 384}, .fusion = 64, .fit = true});
  check_layers(b, "out_indices", shape);
  if (c.integer("reassemble_hidden_size", 384) != shape.vit.width)
    c.refuse("reassemble_hidden_size", "must be backbone_config's hidden_size");
  if (c.integer("patch_size", 14) != shape.vit.patch) c.refuse("patch_size", "must be backbone_config's");
  shape.head_width = c.integer("head_hidden_size", 32);
  c.only("depth_estimation_type", {"relative", "metric"});
  shape.metric = c.text("depth_estimation_type", "relative") == "metric", shape.largest = c.number("max_depth", 1);
  return shape;
}

class DepthEstimator : public DensePredictor {
 public:
  DepthEstimator(std::string json, const DepthShape& shape, DenseInput input, const WeightSource& source)
      : json_(std::move(json)),
        shape_(shape),
        input_(std::move(input)),
        trunk_(source.in(shape.prefix), shape.vit),
        neck_(source.in("neck"), shape.neck) {
    WeightSource head = source.in("head");
    const int64_t fusion = shape.neck.fusion;
    first_ = head.conv(shape.head[0], fusion, fusion / 2, 3, 1, 1);
    second_ = head.conv(shape.head[1], fusion / 2, shape.head_width, 3, 1, 1);
    last_ = head.conv(shape.head[2], shape.head_width, 1, 1);
    weights_ = source.finish();
  }

  Tensor forward(const Tensor& images) const override {
    Tensor pixels = input_(images), x = trunk_.embed(pixels);
    const int64_t patch = trunk_.patch(), height = pixels.size(2) / patch, width = pixels.size(3) / patch;
    std::vector<Tensor> states;
    for (int64_t i = 0; i <= shape_.layers.back(); ++i) {
      x = trunk_.layer(i, x);
      if (i == shape_.layers[states.size()]) states.push_back(shape_.norm ? trunk_.norm(x) : x);
    }
    x = apply(first_, neck_(states, height, width));
    std::vector<int64_t> size{2 * x.size(2), 2 * x.size(3)};
    if (shape_.neck.fit) size = {height * patch, width * patch};
    x = apply(second_, at::upsample_bilinear2d(x, size, /*align_corners=*/true));
    x = apply(last_, at::relu(x)).squeeze(1);
    return (shape_.metric ? x.sigmoid() : at::relu(x)).mul(shape_.largest);
  }

  const std::vector<std::string>& labels() const override { return labels_; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  std::string json_;
  DepthShape shape_;
  DenseInput input_;
  std::vector<std::string> labels_;
  VitTrunk trunk_;
  DptNeck neck_;
  Conv2d first_, second_, last_;
  Weights weights_;
};

std::unique_ptr<DensePredictor> make_depth(const std::string& json, const std::string& preprocessor,
                                           const WeightSource& source, const std::string& where,
                                           DepthShape (*read)(ModelConfig&), const std::vector<double>& mean,
                                           const std::vector<double>& std) {
  ModelConfig c(json, where);
  DepthShape shape = read(c);
  ignore_general_fields(c);
  c.finish();
  DenseInput usual{.height = shape.vit.image, .width = shape.vit.image};
  usual.pixels.channels = shape.vit.channels, usual.pixels.mean = mean, usual.pixels.std = std;
  return std::make_unique<DepthEstimator>(json, shape, read_dense_input(preprocessor, usual, where), source);
}

}  // namespace

std::unique_ptr<DensePredictor> make_dpt(const std::string& config_json, const std::string& preprocessor_json,
                                         const WeightSource& source, const std::string& where) {
  return make_depth(config_json, preprocessor_json, source, where, read_dpt, {0.5}, {0.5});
}

std::unique_ptr<DensePredictor> make_depth_anything(const std::string& config_json,
                                                    const std::string& preprocessor_json, const WeightSource& source,
                                                    const std::string& where) {
  return make_depth(config_json, preprocessor_json, source, where, read_depth_anything, kImageNetMean, kImageNetStd);
}

}  // namespace rft
