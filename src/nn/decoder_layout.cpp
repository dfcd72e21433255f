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

void place_attention(Places& places, const std::string& at, const DecoderLayer& layer, const DecoderConfig& config) {
  int64_t q = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim;
  if (config.model_type == "phi3") {
    places.linear(at + "qkv_proj", layer.qkv);
  } else {
    places.linear(at + "q_proj", layer.qkv, 0, q);
    places.linear(at + "k_proj", layer.qkv, q, kv);
    places.linear(at + "v_proj", layer.qkv, q + kv, kv);
  }
  places.norm(at + "q_norm", layer.q_norm), places.norm(at + "k_norm", layer.k_norm);
  places.linear(at + "o_proj", layer.out);
}

void place_experts(Places& places, const std::string& at, const DecoderLayer& layer, const DecoderConfig& config) {
  bool mixtral = config.model_type == "mixtral";
  std::string root = at + (mixtral ? "block_sparse_moe." : "mlp.");
  int64_t wide = config.experts.intermediate_size;
  places.linear(root + "gate", layer.router);
  for (size_t i = 0; i < layer.experts.size(); ++i) {
    std::string expert = root + "experts." + std::to_string(i) + ".";
    places.linear(expert + (mixtral ? "w1" : "gate_proj"), layer.experts[i].gate_up, 0, wide);
    places.linear(expert + (mixtral ? "w3" : "up_proj"), layer.experts[i].gate_up, wide, wide);
    places.linear(expert + (mixtral ? "w2" : "down_proj"), layer.experts[i].down);
  }
}

void place_mlp(Places& places, const std::string& at, const DecoderLayer& layer, const DecoderConfig& config) {
  int64_t wide = config.intermediate_size;
  if (config.model_type == "phi3") {
    places.linear(at + "gate_up_proj", layer.gate_up);
  } else {
    places.linear(at + "gate_proj", layer.gate_up, 0, wide);
    places.linear(at + "up_proj", layer.gate_up, wide, wide);
  }
  places.linear(at + "down_proj", layer.down);
}

void place_llama_layer(Places& places, const std::string& at, const DecoderLayer& layer, const DecoderConfig& config) {
  places.norm(at + "input_layernorm", layer.attention_norm);
  place_attention(places, at + "self_attn.", layer, config);
  // Where attention's output is normed, that norm has the name that the MLP's has elsewhere.
  places.norm(at + "post_attention_layernorm", config.post_norm ? layer.attention_post_norm : layer.mlp_norm);
  if (config.post_norm) {
    places.norm(at + "pre_feedforward_layernorm", layer.mlp_norm);
    places.norm(at + "post_feedforward_layernorm", layer.mlp_post_norm);
  }
  layer.experts.empty() ? place_mlp(places, at + "mlp.", layer, config) : place_experts(places, at, layer, config);
}

}  // namespace

namespace {

void allocate_norms(DecoderLayer& layer, const DecoderConfig& c, const at::TensorOptions& options) {
  int64_t D = c.hidden_size;
  auto norm = [&](bool wanted, int64_t size) { return wanted ? allocate_norm(size, !c.rms_norm, options) : Norm(); };
  layer.attention_norm = norm(c.pre_norm, D), layer.mlp_norm = norm(c.pre_norm, D);
  layer.attention_post_norm = norm(c.post_norm, D), layer.mlp_post_norm = norm(c.post_norm, D);
  bool qk = c.qk_norm || c.qk_norm_all;
  layer.q_norm = norm(qk, c.head_dim * (c.qk_norm_all ? c.heads : 1));
  layer.k_norm = norm(qk, c.head_dim * (c.qk_norm_all ? c.kv_heads : 1));
}

void allocate_experts(DecoderLayer& layer, const DecoderConfig& c, const at::TensorOptions& options) {
  layer.router = allocate_linear(c.experts.count, c.hidden_size, false, options);
  for (int64_t e = 0; e < c.experts.count; ++e)
    layer.experts.push_back({allocate_linear(c.experts.intermediate_size * 2, c.hidden_size, false, options),
                             allocate_linear(c.hidden_size, c.experts.intermediate_size, false, options)});
}

}  // namespace

Tensor as_stored(const TensorPlace& place) {
  return place.transposed && place.place.dim() == 2 ? place.place.t() : place.place;
}

DecoderWeights allocate_weights(const DecoderConfig& c, const at::TensorOptions& options) {
  int64_t D = c.hidden_size, q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  bool norm_bias = !c.rms_norm;
  DecoderWeights w;
  w.token_embedding = at::empty({c.vocab_size, D}, options);
  if (!c.rope) w.position_embedding = at::empty({c.max_positions, D}, options);
  for (int64_t i = 0; i < c.layers; ++i) {
    DecoderLayer layer;
    allocate_norms(layer, c, options);
    layer.qkv = allocate_linear(q + 2 * kv, D, c.qkv_bias, options),
    layer.out = allocate_linear(D, q, c.out_bias, options);
    if (c.kinds[static_cast<size_t>(i)].experts) {
      allocate_experts(layer, c, options);
    } else {
      layer.gate_up = allocate_linear(c.intermediate_size * (c.gated_mlp ? 2 : 1), D, c.mlp_bias, options);
      layer.down = allocate_linear(D, c.intermediate_size, c.mlp_bias, options);
    }
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
    add_pair(at + "attention_post_norm", layer.attention_post_norm.weight, layer.attention_post_norm.bias);
    add_pair(at + "mlp_norm", layer.mlp_norm.weight, layer.mlp_norm.bias);
    add_pair(at + "mlp_post_norm", layer.mlp_post_norm.weight, layer.mlp_post_norm.bias);
    add(at + "router.weight", layer.router.weight);
    for (size_t e = 0; e < layer.experts.size(); ++e) {
      std::string expert = at + "experts." + std::to_string(e) + ".";
      add(expert + "gate_up.weight", layer.experts[e].gate_up.weight);
      add(expert + "down.weight", layer.experts[e].down.weight);
    }
    add_pair(at + "gate_up", layer.gate_up.weight, layer.gate_up.bias);
    add_pair(at + "down", layer.down.weight, layer.down.bias);
  }
  add_pair("final_norm", final_norm.weight, final_norm.bias);
  if (!head.is_same(token_embedding)) add("head", head);
  add("head_bias", head_bias);
  return out;
}

}  // namespace rft
