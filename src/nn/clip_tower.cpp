#include "nn/clip_tower.h"

#include <ATen/ATen.h>

#include <cctype>

#include "nn/transformers_config.h"
#include "rft/core/error.h"

namespace rft {
namespace {

constexpr char kBoth[] = "CLIPModel";

/// "CLIPTextModel", "CLIPVisionModel".
std::string class_of(const std::string& tower) {
  return cat("CLIP", static_cast<char>(std::toupper(static_cast<unsigned char>(tower[0]))), tower.substr(1), "Model");
}

std::string architecture_of(ModelConfig& config) {
  auto names = config.texts("architectures", {});
  return names.empty() ? "" : names[0];
}

/// Old directories say "text_config_dict": its fields, and the defaults of those it hasn't, take the place of
/// "text_config" (transformers does the same).
std::string part_of_both(ModelConfig& config, const std::string& tower) {
  std::string key = tower + "_config", old_key = key + "_dict";
  const std::string& used = config.has(old_key.c_str()) ? old_key : key;
  const auto& part = config.raw(used.c_str());
  if (part.is_null()) return "{}";
  if (!part.is_object()) config.refuse(used.c_str(), "must be an object");
  return part.dump();
}

}  // namespace

bool is_clip(const std::string& architecture, const std::string& tower) {
  std::string name = class_of(tower);
  return architecture == name || architecture == name + "WithProjection" || architecture == kBoth;
}

ClipPart clip_part(const std::string& config_json, const std::string& tower, const std::string& where) {
  ModelConfig config(config_json, where);
  std::string name = architecture_of(config);
  ClipPart out;
  out.whole = name == kBoth;
  out.projected = out.whole || name.ends_with("WithProjection");
  out.projection = config.integer("projection_dim", 512);
  out.json = config_json;
  if (!out.whole) return out;
  out.json = part_of_both(config, tower);
  config.only("model_type", {"clip"});
  config.ignore({"text_config", "text_config_dict", "vision_config", "vision_config_dict", "logit_scale_init_value"});
  ignore_general_fields(config);
  config.finish();
  return out;
}

WeightSource clip_source(const ClipPart& part, const WeightSource& source, const std::string& tower) {
  std::string own = tower + "_model";
  if (part.whole) {
    bool text = tower == "text";
    source.ignore("logit_scale");
    source.ignore(text ? "vision_model" : "text_model");
    source.ignore(text ? "visual_projection" : "text_projection");
  }
  WeightSource out = part.projected || source.has(own) ? source.in(own) : source;
  out.ignore("embeddings.position_ids");
  return out;
}

ClipShape read_clip_shape(ModelConfig& c, ClipShape shape) {
  shape.width = c.integer("hidden_size", shape.width), shape.inner = c.integer("intermediate_size", shape.inner);
  shape.layers = c.integer("num_hidden_layers", shape.layers);
  shape.heads = c.integer("num_attention_heads", shape.heads);
  shape.eps = c.number("layer_norm_eps", shape.eps), shape.activation = c.text("hidden_act", shape.activation);
  c.only("attention_dropout", {0.0}), c.only("dropout", {0.0});
  c.ignore({"projection_dim"});
  ignore_general_fields(c);
  if (shape.heads < 1 || shape.width < 1 || shape.width % shape.heads)
    c.refuse("num_attention_heads", "must divide hidden_size");
  if (shape.layers < 1) c.refuse("num_hidden_layers", "must be at least 1");
  activate(shape.activation, at::zeros({1}), c.where() + ": `hidden_act`");
  return shape;
}

ClipLayers::ClipLayers(const WeightSource& source, const ClipShape& shape) : shape_(shape) {
  int64_t D = shape.width;
  for (int64_t i = 0; i < shape.layers; ++i) {
    WeightSource at = source.in(cat("encoder.layers.", i)), self = at.in("self_attn");
    Layer layer;
    layer.before = at.norm("layer_norm1", D), layer.after = at.norm("layer_norm2", D);
    layer.q = self.linear("q_proj", D, D), layer.k = self.linear("k_proj", D, D);
    layer.v = self.linear("v_proj", D, D), layer.out = self.linear("out_proj", D, D);
    layer.up = at.linear("mlp.fc1", D, shape.inner), layer.down = at.linear("mlp.fc2", shape.inner, D);
    layers_.push_back(std::move(layer));
  }
}

Tensor ClipLayers::operator()(Tensor x, bool causal, Tensor* last_input) const {
  for (const Layer& layer : layers_) {
    if (last_input && &layer == &layers_.back()) *last_input = x;
    x = x.add(attend(layer, layer_norm(layer.before, x, shape_.eps), causal));
    Tensor wide = apply(*layer.up, layer_norm(layer.after, x, shape_.eps));
    x = x.add(apply(*layer.down, activate(shape_.activation, wide, "hidden_act")));
  }
  return x;
}

Tensor ClipLayers::attend(const Layer& layer, const Tensor& x, bool causal) const {
  auto heads = [&](const Linear& linear) {
    return apply(linear, x).view({x.size(0), x.size(1), shape_.heads, shape_.width / shape_.heads}).transpose(1, 2);
  };
  Tensor mixed = at::scaled_dot_product_attention(heads(*layer.q), heads(*layer.k), heads(*layer.v), {}, 0, causal);
  return apply(*layer.out, mixed.transpose(1, 2).reshape(x.sizes()));
}

}  // namespace rft
