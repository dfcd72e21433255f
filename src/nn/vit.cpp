// ViTForImageClassification of transformers (Dosovitskiy et al. 2021, arXiv:2010.11929).
#include <ATen/ATen.h>

#include "nn/transformers_config.h"
#include "nn/vision_encoders.h"
#include "rft/core/error.h"

namespace rft {
namespace {

struct VitLayer {
  Norm before, after;
  std::shared_ptr<Linear> query, key, value, out, up, down;
};

class Vit : public VisionEncoder {
 public:
  Vit(const std::string& json, const std::string& preprocessor, const WeightSource& source, const std::string& where)
      : json_(json) {
    ModelConfig c(json, where);
    width_ = c.integer("hidden_size", 768), heads_ = c.integer("num_attention_heads", 12);
    int64_t layers = c.integer("num_hidden_layers", 12), inner = c.integer("intermediate_size", 3072);
    eps_ = c.number("layer_norm_eps", 1e-12), activation_ = c.text("hidden_act", "gelu");
    input_.size = c.integer("image_size", 224), input_.channels = c.integer("num_channels", 3);
    patch_ = c.integer("patch_size", 16);
    bool bias = c.flag("qkv_bias", true);
    labels_ = label_names(c);
    c.only("hidden_dropout_prob", {0.0}), c.only("attention_probs_dropout_prob", {0.0});
    c.only("model_type", {"vit"});
    c.ignore({"encoder_stride", "pooler_act", "pooler_output_size"});
    ignore_general_fields(c);
    activate(activation_, at::zeros({1}), where + ": `hidden_act`");
    c.finish();
    if (patch_ < 1 || input_.size % patch_) c.refuse("patch_size", "must divide image_size");
    if (heads_ < 1 || width_ % heads_) c.refuse("num_attention_heads", "must divide hidden_size");
    if (input_.channels != 1 && input_.channels != 3) c.refuse("num_channels", "must be 1 or 3");
    read_normalisation(input_, preprocessor, {0.5}, {0.5}, where);
    build(source, layers, inner, bias);
  }

  Output forward(const Tensor& images) const override {
    Tensor x = apply(patches_, input_(images).to(position_.scalar_type())).flatten(2).transpose(1, 2);
    x = at::cat({class_.expand({x.size(0), 1, width_}), x}, 1).add(position_);
    for (const VitLayer& layer : layers_) {
      x = x.add(attend(layer, layer_norm(layer.before, x, eps_)));
      Tensor wide = activate(activation_, apply(*layer.up, layer_norm(layer.after, x, eps_)), "hidden_act");
      x = x.add(apply(*layer.down, wide));
    }
    Output out;
    out.hidden = layer_norm(norm_, x, eps_);
    out.pooled = out.hidden.select(1, 0);
    out.logits = apply(*classifier_, out.pooled);
    return out;
  }

  int64_t image_size() const override { return input_.size; }
  const std::vector<std::string>& labels() const override { return labels_; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  void build(const WeightSource& source, int64_t layers, int64_t inner, bool bias) {
    WeightSource vit = source.in("vit"), embeddings = vit.in("embeddings");
    int64_t tokens = input_.size / patch_ * (input_.size / patch_) + 1;
    class_ = embeddings.tensor("cls_token", {1, 1, width_}, Init::zeros);
    position_ = embeddings.tensor("position_embeddings", {1, tokens, width_}, Init::uniform, 2500);
    patches_ = embeddings.conv("patch_embeddings.projection", input_.channels, width_, patch_, patch_);
    for (int64_t i = 0; i < layers; ++i) {
      WeightSource at = vit.in("encoder.layer." + std::to_string(i)), self = at.in("attention.attention");
      VitLayer layer;
      layer.before = at.norm("layernorm_before", width_), layer.after = at.norm("layernorm_after", width_);
      layer.query = self.linear("query", width_, width_, bias), layer.key = self.linear("key", width_, width_, bias);
      layer.value = self.linear("value", width_, width_, bias);
      layer.out = at.linear("attention.output.dense", width_, width_);
      layer.up = at.linear("intermediate.dense", width_, inner), layer.down = at.linear("output.dense", inner, width_);
      layers_.push_back(layer);
    }
    norm_ = vit.norm("layernorm", width_);
    vit.ignore("pooler");  // of directories that were made for other heads
    classifier_ = source.linear("classifier", width_, static_cast<int64_t>(labels_.size()));
    weights_ = source.finish();
  }

  Tensor attend(const VitLayer& layer, const Tensor& x) const {
    auto heads = [&](const Linear& linear) {
      return apply(linear, x).view({x.size(0), x.size(1), heads_, width_ / heads_}).transpose(1, 2);
    };
    Tensor mixed = at::scaled_dot_product_attention(heads(*layer.query), heads(*layer.key), heads(*layer.value));
    return apply(*layer.out, mixed.transpose(1, 2).reshape(x.sizes()));
  }

  std::string json_, activation_;
  ImageInput input_;
  int64_t width_ = 0, heads_ = 0, patch_ = 0;
  double eps_ = 0;
  std::vector<std::string> labels_;
  Tensor class_, position_;
  Conv2d patches_;
  std::vector<VitLayer> layers_;
  Norm norm_;
  std::shared_ptr<Linear> classifier_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<VisionEncoder> make_vit(const std::string& config_json, const std::string& preprocessor_json,
                                        const WeightSource& source, const std::string& where) {
  return std::make_unique<Vit>(config_json, preprocessor_json, source, where);
}

}  // namespace rft
