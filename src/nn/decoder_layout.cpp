#include "nn/decoder_layout.h"

#include <ATen/ATen.h>

namespace rft {
namespace {

Linear allocate_linear(int64_t out, int64_t in, bool bias, const at::TensorOptions& options) {
  return {at::empty({out, in}, options), bias ? at::empty({out}, options) : Tensor(), {}};
}

Norm allocate_norm(int64_t size, bool bias, const at::TensorOptions& options) {
  return {at::empty({size}, options), bias ? at::empty({size}, options) : Tensor()};
}

/// Collects places under growing prefixes.
class Places {
 public:
  void add(const std::string& name, const Tensor& place, bool transposed = false) {
    if (place.defined()) list.push_back({name, place, transposed});
  }
  void norm(const std::string& name, const Norm& norm) {
    add(name + ".weight", norm.weight), add(name + ".bias", norm.bias);
  }
  void linear(const std::string& name, const Linear& linear, int64_t first, int64_t rows, bool transposed = false) {
    add(name + ".weight", linear.weight.narrow(0, first, rows), transposed);
    if (linear.bias.defined()) add(name + ".bias", linear.bias.narrow(0, first, rows));
  }
  void linear(const std::string& name, const Linear& whole, bool transposed = false) {
    linear(name, whole, 0, whole.weight.size(0), transposed);
  }

  std::vector<TensorPlace> list;
};

void place_gpt2_layer(Places& places, const std::string& at, const DecoderLayer& layer) {
  places.norm(at + "ln_1", layer.attention_norm);
  places.linear(at + "attn.c_attn", layer.qkv, true);
  places.linear(at + "attn.c_proj", layer.out, true);
  places.norm(at + "ln_2", layer.mlp_norm);
  places.linear(at + "mlp.c_fc", layer.gate_up, true);
  places.linear(at + "mlp.c_proj", layer.down, true);
}

void place_llama_layer(Places& places, const std::string& at, const DecoderLayer& layer, const DecoderConfig& config) {
  int64_t q = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim, wide = config.intermediate_size;
  places.norm(at + "input_layernorm", layer.attention_norm);
  places.linear(at + "self_attn.q_proj", layer.qkv, 0, q);
  places.linear(at + "self_attn.k_proj", layer.qkv, q, kv);
  places.linear(at + "self_attn.v_proj", layer.qkv, q + kv, kv);
  if (config.qk_norm)
    places.norm(at + "self_attn.q_norm", layer.q_norm), places.norm(at + "self_attn.k_norm", layer.k_norm);
  places.linear(at + "self_attn.o_proj", layer.out);
  places.norm(at + "post_attention_layernorm", layer.mlp_norm);
  places.linear(at + "mlp.gate_proj", layer.gate_up, 0, wide);
  places.linear(at + "mlp.up_proj", layer.gate_up, wide, wide);
  places.linear(at + "mlp.down_proj", layer.down);
}

}  // namespace

DecoderWeights allocate_weights(const DecoderConfig& c, const at::TensorOptions& options) {
  int64_t D = c.hidden_size, q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  bool norm_bias = !c.rms_norm;
  DecoderWeights w;
  w.token_embedding = at::empty({c.vocab_size, D}, options);
  if (!c.rope) w.position_embedding = at::empty({c.max_positions, D}, options);
  for (int64_t i = 0; i < c.layers; ++i) {
    DecoderLayer layer;
    layer.attention_norm = allocate_norm(D, norm_bias, options), layer.mlp_norm = allocate_norm(D, norm_bias, options);
    layer.qkv = allocate_linear(q + 2 * kv, D, c.qkv_bias, options),
    layer.out = allocate_linear(D, q, c.out_bias, options);
    if (c.qk_norm)
      layer.q_norm = allocate_norm(c.head_dim, false, options),
      layer.k_norm = allocate_norm(c.head_dim, false, options);
    layer.gate_up = allocate_linear(c.intermediate_size * (c.gated_mlp ? 2 : 1), D, c.mlp_bias, options);
    layer.down = allocate_linear(D, c.intermediate_size, c.mlp_bias, options);
    w.layers.push_back(std::move(layer));
  }
  w.final_norm = allocate_norm(D, norm_bias, options);
  w.head = c.tied_head ? w.token_embedding : at::empty({c.labels ? c.labels : c.vocab_size, D}, options);
  if (c.head_bias) w.head_bias = at::empty({c.labels}, options);
  return w;
}

std::vector<TensorPlace> tensor_places(const DecoderConfig& config, const DecoderWeights& w) {
  Places places;
  bool gpt2 = config.model_type == "gpt2";
  std::string root = gpt2 ? "transformer." : "model.";
  places.add(root + (gpt2 ? "wte.weight" : "embed_tokens.weight"), w.token_embedding);
  places.add(root + "wpe.weight", w.position_embedding);
  for (size_t i = 0; i < w.layers.size(); ++i) {
    std::string at = root + (gpt2 ? "h." : "layers.") + std::to_string(i) + ".";
    gpt2 ? place_gpt2_layer(places, at, w.layers[i]) : place_llama_layer(places, at, w.layers[i], config);
  }
  places.norm(root + (gpt2 ? "ln_f" : "norm"), w.final_norm);
  if (!config.tied_head) places.add(config.labels ? "score.weight" : "lm_head.weight", w.head);
  places.add("score.bias", w.head_bias);
  return std::move(places.list);
}

std::vector<std::pair<std::string, Tensor>> DecoderWeights::named() const {
  std::vector<std::pair<std::string, Tensor>> out;
  auto add = [&](const std::string& name, const Tensor& value) {
    if (value.defined()) out.emplace_back(name, value);
  };
  auto add_pair = [&](const std::string& name, const Tensor& weight, const Tensor& bias) {
    add(name + ".weight", weight), add(name + ".bias", bias);
  };
  add("token_embedding", token_embedding), add("position_embedding", position_embedding);
  for (size_t i = 0; i < layers.size(); ++i) {
    const DecoderLayer& layer = layers[i];
    std::string at = "layers." + std::to_string(i) + ".";
    add_pair(at + "attention_norm", layer.attention_norm.weight, layer.attention_norm.bias);
    add_pair(at + "qkv", layer.qkv.weight, layer.qkv.bias);
    add_pair(at + "q_norm", layer.q_norm.weight, layer.q_norm.bias),
        add_pair(at + "k_norm", layer.k_norm.weight, layer.k_norm.bias);
    add_pair(at + "out", layer.out.weight, layer.out.bias);
    add_pair(at + "mlp_norm", layer.mlp_norm.weight, layer.mlp_norm.bias);
    add_pair(at + "gate_up", layer.gate_up.weight, layer.gate_up.bias);
    add_pair(at + "down", layer.down.weight, layer.down.bias);
  }
  add_pair("final_norm", final_norm.weight, final_norm.bias);
  if (!head.is_same(token_embedding)) add("head", head);
  add("head_bias", head_bias);
  return out;
}

}  // namespace rft
