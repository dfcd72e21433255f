#include "nn/esm_trunk.h"

#include <ATen/ATen.h>

#include <cmath>

#include "nn/transformers_config.h"
#include "rft/core/error.h"
#include "rft/ops/attention.h"
#include "rft/ops/rotary.h"

namespace rft {
EsmShape read_esm_shape(ModelConfig& c) {
  EsmShape s;
  s.vocab = c.integer("vocab_size", 0), s.width = c.integer("hidden_size", s.width);
  s.layers = c.integer("num_hidden_layers", s.layers), s.heads = c.integer("num_attention_heads", s.heads);
  s.inner = c.integer("intermediate_size", s.inner), s.max_length = c.integer("max_position_embeddings", s.max_length);
  s.mask_id = c.integer("mask_token_id", -1), s.pad_id = c.integer("pad_token_id", -1);
  s.eps = c.number("layer_norm_eps", s.eps), s.rope_theta = c.number("rope_theta", s.rope_theta);
  s.norm_before = c.flag("emb_layer_norm_before", false);
  c.only("model_type", {"esm"}), c.only("is_folding_model", {false}), c.only("esmfold_config");
  c.only("token_dropout", {false});
  c.only("hidden_dropout_prob", {0.0}), c.only("attention_probs_dropout_prob", {0.0}), c.only("hidden_act", {"gelu"});
  if (c.text("position_embedding_type", "absolute") != "rotary") c.refuse("position_embedding_type", "must be rotary");
  c.ignore({"vocab_list", "classifier_dropout", "bos_token_id", "eos_token_id"});
  ignore_general_fields(c);
  if (s.vocab < 2) c.refuse("vocab_size", "must be at least 2");
  if (s.heads < 1 || s.width % s.heads || s.width / s.heads % 2)
    c.refuse("num_attention_heads", "must divide hidden_size into heads of an even size");
  if (s.layers < 1) c.refuse("num_hidden_layers", "must be at least 1");
  if (s.mask_id < 0 || s.mask_id >= s.vocab) c.refuse("mask_token_id", "must be one of the vocabulary's ids");
  return s;
}

EsmTrunk::EsmTrunk(const WeightSource& source, const EsmShape& shape) : shape_(shape) {
  WeightSource esm = source.in("esm"), embeddings = esm.in("embeddings"), encoder = esm.in("encoder");
  embeddings.ignore("position_ids");
  embedding_ = embeddings.tensor("word_embeddings.weight", {shape.vocab, shape.width}, Init::uniform, 2500);
  if (shape.norm_before) first_norm_ = norm_of_either_name(embeddings, "layer_norm", shape.width);
  encoder.ignore("layer.*"), esm.ignore("rotary_embeddings");  // tables that newer versions write
  for (int64_t i = 0; i < shape.layers; ++i) {
    WeightSource at = encoder.in(cat("layer.", i)), attention = at.in("attention"), self = attention.in("self");
    self.ignore("rotary_embeddings");
    Layer layer;
    layer.before = norm_of_either_name(attention, "LayerNorm", shape.width),
    layer.after = norm_of_either_name(at, "LayerNorm", shape.width);
    layer.query = self.linear("query", shape.width, shape.width);
    layer.key = self.linear("key", shape.width, shape.width);
    layer.value = self.linear("value", shape.width, shape.width);
    layer.out = attention.linear("output.dense", shape.width, shape.width);
    layer.up = at.linear("intermediate.dense", shape.width, shape.inner);
    layer.down = at.linear("output.dense", shape.inner, shape.width);
    layers_.push_back(std::move(layer));
  }
  last_norm_ = norm_of_either_name(encoder, "emb_layer_norm_after", shape.width);
  // A head for contact maps, which every ESM directory carries and nothing here uses.
  Tensor scores = at::zeros({1, shape.layers * shape.heads});
  esm.buffer("contact_head.regression.weight", scores), esm.buffer("contact_head.regression.bias", at::zeros({1}));
}

Tensor EsmTrunk::operator()(const Tensor& tokens) const {
  int64_t length = tokens.size(1), half = shape_.width / shape_.heads / 2;
  if (length > shape_.max_length)
    bad_input("config.json", "the model takes at most ", shape_.max_length, " tokens; got ", length);
  Tensor x = tokens.dim() == 3 ? at::matmul(tokens.to(embedding_.scalar_type()), embedding_)
                               : at::embedding(embedding_, tokens);
  if (shape_.norm_before) x = layer_norm(first_norm_, x, shape_.eps);
  Tensor power = at::arange(half, at::kDouble).mul(-std::log(shape_.rope_theta) / static_cast<double>(half)).exp();
  Tensor angle = at::arange(length, at::kDouble).unsqueeze(1).mul(power).repeat({x.size(0), 1});
  Tensor cos = angle.cos().to(x.scalar_type()), sin = angle.sin().to(x.scalar_type());
  for (const Layer& layer : layers_) {
    x = x.add(attend(layer, layer_norm(layer.before, x, shape_.eps), cos, sin));
    Tensor wide = at::gelu(apply(*layer.up, layer_norm(layer.after, x, shape_.eps)));
    x = x.add(apply(*layer.down, wide));
  }
  return layer_norm(last_norm_, x, shape_.eps);
}

Tensor EsmTrunk::attend(const Layer& layer, const Tensor& x, const Tensor& cos, const Tensor& sin) const {
  int64_t N = x.size(0), L = x.size(1), size = shape_.width / shape_.heads;
  auto heads = [&](const Tensor& y) { return y.view({N, L, shape_.heads, size}).transpose(1, 2); };
  auto turned = [&](const Linear& linear) {
    return heads(ops::rotary(apply(linear, x).view({N * L, shape_.heads, size}), cos, sin, shape_.heads));
  };
  return apply(*layer.out, ops::attention(turned(*layer.query), turned(*layer.key), heads(apply(*layer.value, x))));
}

}  // namespace rft
