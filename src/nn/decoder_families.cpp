#include "nn/decoder_families.h"

#include <algorithm>
#include <cmath>

#include "nn/decoder_rope.h"
#include "rft/core/text.h"

namespace rft {
namespace {

using Json = nlohmann::json;

std::string activation(const ConfigFields& in, const char* name, const char* fallback) {
  std::string given = in.text(name, fallback);
  if (given == "gelu_pytorch_tanh" || given == "gelu_fast") return "gelu_new";
  for (const char* known : {"silu", "gelu", "gelu_new", "relu"})
    if (given == known) return given;
  bad_input(in.where(), "'", name, "' must be silu, gelu, gelu_new or relu; got '", given, "'");
}

/// What all families but GPT-2 share; layers are all alike until the family says otherwise.
void read_common(const ConfigFields& in, DecoderConfig& config, const char* activation_name = "hidden_act",
                 const char* activation_fallback = "silu") {
  config.hidden_size = in.size("hidden_size"), config.layers = in.size("num_hidden_layers");
  config.heads = in.size("num_attention_heads"), config.kv_heads = in.size("num_key_value_heads", config.heads);
  config.intermediate_size = in.size("intermediate_size");
  config.head_dim = in.size("head_dim", std::max<int64_t>(1, config.hidden_size / config.heads));
  config.max_positions = in.size("max_position_embeddings");
  config.norm_eps = in.positive("rms_norm_eps", 1e-6);
  config.activation = activation(in, activation_name, activation_fallback);
  config.tied_head = in.flag("tie_word_embeddings", false);
  in.ignore({"attention_dropout"});
}

/// Layers all alike, attending to `window` positions (0: all).
void alike(const ConfigFields& in, DecoderConfig& config, int64_t window = 0) {
  constexpr int64_t most = 10000;
  if (config.layers > most) bad_input(in.where(), "a model may have at most ", most, " layers; got ", config.layers);
  if (window >= config.max_positions) window = 0;  // wider than any row
  config.kinds.assign(static_cast<size_t>(config.layers), LayerKind{.window = window});
}

/// Which layers slide: `slides(i)` where config.json has no layer_types. A window that no row fills is no window.
template <class Slides>
std::vector<bool> read_layer_types(const ConfigFields& in, DecoderConfig& config, int64_t window, Slides slides) {
  alike(in, config);
  bool listed = in.has("layer_types");
  const Json& types = listed ? in.raw("layer_types") : Json::array();
  if (listed && (!types.is_array() || types.size() != config.kinds.size()))
    bad_input(in.where(), "'layer_types' must name the kind of each of the ", config.layers, " layers");
  std::vector<bool> sliding;
  for (size_t i = 0; i < config.kinds.size(); ++i) {
    if (listed && types[i] != "full_attention" && types[i] != "sliding_attention")
      bad_input(in.where(), "'layer_types'[", i, "] must be full_attention or sliding_attention; got ",
                types[i].dump());
    sliding.push_back(listed ? types[i] == "sliding_attention" : slides(i));
    if (sliding[i] && window > 0 && window < config.max_positions) config.kinds[i].window = window;
  }
  return sliding;
}

int64_t window_of(const ConfigFields& in, int64_t fallback = 0) {
  return in.has("sliding_window") ? in.size("sliding_window") : fallback;
}

void read_llama(const ConfigFields& in, DecoderConfig& config) {
  read_common(in, config);
  config.qkv_bias = config.out_bias = in.flag("attention_bias", false);
  config.mlp_bias = in.flag("mlp_bias", false);
  alike(in, config);
  read_rope(in, config);
  in.ignore({"pretraining_tp"});
}

void read_mistral(const ConfigFields& in, DecoderConfig& config) {
  read_common(in, config);
  alike(in, config, in.json().contains("sliding_window") ? window_of(in) : 4096);
  read_rope(in, config);
}

/// Qwen 2 and 3: the layers from max_window_layers on may slide.
void read_qwen(const ConfigFields& in, DecoderConfig& config) {
  bool third = config.model_type != "qwen2";
  read_common(in, config);
  if (third) config.head_dim = in.size("head_dim", 128);
  config.qkv_bias = !third || in.flag("attention_bias", false);
  config.out_bias = third && in.flag("attention_bias", false);
  config.qk_norm = third;
  double first = in.number("max_window_layers", 28);
  int64_t window = window_of(in, 4096);
  if (!in.flag("use_sliding_window", false)) window = 0;
  read_layer_types(in, config, window, [&](size_t i) { return static_cast<double>(i) >= first; });
  in.only("use_mrope", false);
  read_rope(in, config);
}

void read_experts(const ConfigFields& in, DecoderConfig& config, int64_t count, int64_t per_token) {
  Experts& experts = config.experts;
  experts.count = in.size("num_experts", in.size("num_local_experts", count));
  experts.per_token = in.size("num_experts_per_tok", per_token);
  if (experts.count > 4096) bad_input(in.where(), "a layer may have at most 4096 experts; got ", experts.count);
  if (experts.per_token > experts.count)
    bad_input(in.where(), "'num_experts_per_tok' must be at most the ", experts.count, " experts; got ",
              experts.per_token);
  double weight = in.number("router_aux_loss_coef", 0.001);
  if (in.flag("output_router_logits", false)) experts.balance_weight = weight;
}

void read_mixtral(const ConfigFields& in, DecoderConfig& config) {
  read_common(in, config);
  config.norm_eps = in.positive("rms_norm_eps", 1e-5);
  read_experts(in, config, 8, 2);
  config.experts.intermediate_size = config.intermediate_size;
  if (in.number("router_jitter_noise", 0) != 0) bad_input(in.where(), "'router_jitter_noise' must be 0");
  alike(in, config, window_of(in));
  for (LayerKind& kind : config.kinds) kind.experts = true;
  read_rope(in, config, 1e6);
}

void read_qwen3_moe(const ConfigFields& in, DecoderConfig& config) {
  read_common(in, config);
  config.qkv_bias = config.out_bias = in.flag("attention_bias", false);
  config.qk_norm = true;
  read_experts(in, config, 128, 8);
  config.experts.intermediate_size = in.size("moe_intermediate_size", 768);
  config.experts.normalise = in.flag("norm_topk_prob", false);
  int64_t step = in.size("decoder_sparse_step", 1);
  int64_t window = window_of(in, 4096);
  alike(in, config, in.flag("use_sliding_window", false) ? window : 0);
  in.ignore({"max_window_layers"});
  bool has_dense = in.has("mlp_only_layers");
  const Json& dense = has_dense ? in.raw("mlp_only_layers") : Json::array();
  for (size_t i = 0; i < config.kinds.size(); ++i)
    config.kinds[i].experts =
        (static_cast<int64_t>(i) + 1) % step == 0 && std::find(dense.begin(), dense.end(), Json(i)) == dense.end();
  read_rope(in, config);
}

/// Gemma 2 and 3: norms of 1 + weight before and behind attention and MLP, scaled embeddings, sliding layers between.
void read_gemma(const ConfigFields& in, DecoderConfig& config) {
  bool third = config.model_type == "gemma3_text";
  const char* name = in.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  read_common(in, config, name, "gelu_pytorch_tanh");
  in.ignore({"hidden_act", "cache_implementation"});
  config.head_dim = in.size("head_dim", 256);
  config.tied_head = in.flag("tie_word_embeddings", true);
  config.qkv_bias = config.out_bias = in.flag("attention_bias", false);
  config.norm_plus_one = config.post_norm = true;
  config.qk_norm = third;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.attention_scale = 1 / std::sqrt(in.positive("query_pre_attn_scalar", 256));
  auto cap = [&](const char* field, double fallback) {
    return in.json().contains(field) ? (in.has(field) ? in.positive(field, fallback) : 0) : fallback;
  };
  config.attention_softcap = cap("attn_logit_softcapping", third ? 0 : 50);
  config.logit_softcap = cap("final_logit_softcapping", third ? 0 : 30);
  in.only("use_bidirectional_attention", false);
  auto pattern = static_cast<size_t>(in.size("sliding_window_pattern", third ? 6 : 2));
  auto sliding = read_layer_types(in, config, window_of(in, 4096), [&](size_t i) { return (i + 1) % pattern != 0; });
  // The angles go by the kind of layer, whether a row fills the window or not.
  for (size_t i = 0; third && i < config.kinds.size(); ++i) config.kinds[i].local_rope = sliding[i];
  read_rope(in, config, third ? 1e6 : 1e4);
}

void read_phi3(const ConfigFields& in, DecoderConfig& config) {
  read_common(in, config);
  config.norm_eps = in.positive("rms_norm_eps", 1e-5);
  in.only("attention_bias", false);
  in.ignore({"resid_pdrop", "embd_pdrop"});
  alike(in, config, window_of(in));
  read_rope(in, config);
}

/// OLMo-2: attention and MLP read the stream as it is, and what they give is normed.
void read_olmo2(const ConfigFields& in, DecoderConfig& config) {
  read_common(in, config);
  config.norm_eps = in.positive("rms_norm_eps", 1e-5);
  config.qkv_bias = config.out_bias = in.flag("attention_bias", false);
  config.pre_norm = false, config.post_norm = config.qk_norm_all = true;
  in.only("clip_qkv", false);
  alike(in, config);
  read_rope(in, config);
}

void read_smollm3(const ConfigFields& in, DecoderConfig& config) {
  read_common(in, config);
  config.tied_head = in.flag("tie_word_embeddings", true);
  config.qkv_bias = config.out_bias = in.flag("attention_bias", false);
  config.mlp_bias = in.flag("mlp_bias", false);
  alike(in, config);
  bool listed = in.has("no_rope_layers");
  const Json rope = listed ? in.raw("no_rope_layers") : Json();
  int64_t interval = in.size("no_rope_layer_interval", 4);
  if (listed && (!rope.is_array() || rope.size() != config.kinds.size()))
    bad_input(in.where(), "'no_rope_layers' must hold a 1 (rope) or 0 (none) for each of the ", config.layers,
              " layers");
  std::vector<bool> turns;
  for (size_t i = 0; i < config.kinds.size(); ++i)
    turns.push_back(listed ? rope[i] == 1 || rope[i] == true : (static_cast<int64_t>(i) + 1) % interval != 0);
  int64_t window = window_of(in);
  if (!in.flag("use_sliding_window", false)) window = 0;
  read_layer_types(in, config, window, [&](size_t i) { return !turns[i]; });
  for (size_t i = 0; i < turns.size(); ++i) config.kinds[i].rope = turns[i];
  in.ignore({"max_window_layers", "pretraining_tp"});
  read_rope(in, config, 2e6);
}

void read_gpt2(const ConfigFields& in, DecoderConfig& config) {
  config.hidden_size = in.size("n_embd"), config.layers = in.size("n_layer"), config.heads = in.size("n_head");
  config.kv_heads = config.heads, config.head_dim = config.hidden_size / config.heads;
  config.intermediate_size = in.size("n_inner", 4 * config.hidden_size);
  config.max_positions = in.size("n_positions");
  config.norm_eps = in.positive("layer_norm_epsilon", 1e-5);
  config.activation = activation(in, "activation_function", "gelu_new");
  config.rms_norm = config.rope = config.gated_mlp = false;
  config.qkv_bias = config.out_bias = config.mlp_bias = true;
  config.tied_head = in.flag("tie_word_embeddings", true);
  alike(in, config);
  in.only("scale_attn_weights", true), in.only("scale_attn_by_inverse_layer_idx", false),
      in.only("add_cross_attention", false);
  in.ignore({"attn_pdrop", "embd_pdrop", "resid_pdrop", "n_ctx", "reorder_and_upcast_attn", "summary_activation",
             "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"});
  if (config.heads * config.head_dim != config.hidden_size)
    bad_input(in.where(), "n_embd must be a multiple of n_head");
}

}  // namespace

const std::vector<Family>& decoder_families() {
  static const std::vector<Family> families{{"qwen2", "Qwen2", "Qwen2ForCausalLM", read_qwen},
                                            {"qwen3", "Qwen3", "Qwen3ForCausalLM", read_qwen},
                                            {"qwen3_moe", "Qwen3Moe", "Qwen3MoeForCausalLM", read_qwen3_moe},
                                            {"llama", "Llama", "LlamaForCausalLM", read_llama},
                                            {"mistral", "Mistral", "MistralForCausalLM", read_mistral},
                                            {"mixtral", "Mixtral", "MixtralForCausalLM", read_mixtral},
                                            {"gemma2", "Gemma2", "Gemma2ForCausalLM", read_gemma},
                                            {"gemma3_text", "Gemma3Text", "Gemma3ForCausalLM", read_gemma},
                                            {"phi3", "Phi3", "Phi3ForCausalLM", read_phi3},
                                            {"olmo2", "Olmo2", "Olmo2ForCausalLM", read_olmo2},
                                            {"smollm3", "SmolLM3", "SmolLM3ForCausalLM", read_smollm3},
                                            {"gpt2", "GPT2", "GPT2LMHeadModel", read_gpt2}};
  return families;
}

}  // namespace rft
