#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/core/text.h"
#include "rft/nn/decoder.h"

namespace rft {
namespace {

using Json = nlohmann::json;
constexpr int64_t kLargest = int64_t{1} << 28;  // products of two sizes stay far from overflow
constexpr int64_t kMostLayers = 10000;
constexpr int kMaxDepth = 64;

/// config.json with errors that name the file and the field.
class ConfigFields {
 public:
  ConfigFields(const Json& json, const std::string& where) : json_(json), where_(where) {}

  bool has(const char* name) const { return json_.contains(name) && !json_[name].is_null(); }
  /// A whole number in 1 .. 2^28, or `fallback` where the field is missing; a missing one without fallback is an error.
  int64_t size(const char* name, int64_t fallback = 0) const {
    if (!has(name) && fallback > 0) return fallback;
    if (!has(name)) bad_input(where_, "the field '", name, "' is missing");
    const Json& value = json_[name];
    if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > static_cast<double>(kLargest))
      bad_input(where_, "'", name, "' must be a whole number in 1 .. 2^28; got ", value.dump());
    return value;
  }
  double number(const char* name, double fallback) const {
    if (!has(name)) return fallback;
    if (!json_[name].is_number()) bad_input(where_, "'", name, "' must be a number; got ", json_[name].dump());
    return json_[name];
  }
  double positive(const char* name, double fallback) const {
    double value = number(name, fallback);
    if (!(value > 0)) bad_input(where_, "'", name, "' must be above 0; got ", value);
    return value;
  }
  bool flag(const char* name, bool fallback) const {
    if (!has(name)) return fallback;
    if (!json_[name].is_boolean()) bad_input(where_, "'", name, "' must be true or false; got ", json_[name].dump());
    return json_[name];
  }
  std::string text(const char* name, const std::string& fallback) const {
    if (!has(name)) return fallback;
    if (!json_[name].is_string()) bad_input(where_, "'", name, "' must be a text; got ", json_[name].dump());
    return json_[name];
  }
  /// Throws where a field that would change the computation has another value than the one that is implemented.
  void only(const char* name, bool value) const {
    if (flag(name, value) != value)
      bad_input(where_, "'", name, "': ", !value ? "true" : "false", " is not implemented");
  }
  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }

 private:
  const Json& json_;
  const std::string& where_;
};

std::string activation(const ConfigFields& in, const char* name, const char* fallback) {
  std::string given = in.text(name, fallback);
  if (given == "gelu_pytorch_tanh" || given == "gelu_fast") return "gelu_new";
  for (const char* known : {"silu", "gelu", "gelu_new", "relu"})
    if (given == known) return given;
  bad_input(in.where(), "'", name, "' must be silu, gelu, gelu_new or relu; got '", given, "'");
}

/// Llama 3's scaling (transformers' _compute_llama3_parameters): long wavelengths are slowed down, short ones left,
/// those between blended.
void scale_llama3(const ConfigFields& rope, std::vector<double>& inv_freq) {
  double factor = rope.positive("factor", 1), low = rope.positive("low_freq_factor", 1),
         high = rope.positive("high_freq_factor", 4);
  double original = rope.positive("original_max_position_embeddings", 8192);
  if (!(high > low)) bad_input(rope.where(), "rope scaling: high_freq_factor must be above low_freq_factor");
  for (double& f : inv_freq) {
    double wavelength = 2 * std::numbers::pi / f;
    if (wavelength < original / high) continue;
    if (wavelength > original / low) {
      f /= factor;
    } else {
      double smooth = (original / wavelength - low) / (high - low);
      f = (1 - smooth) * f / factor + smooth * f;
    }
  }
}

/// transformers 5 writes rope_parameters; directories on the Hub have rope_theta and rope_scaling.
void read_rope(const ConfigFields& in, DecoderConfig& config) {
  Json rope = in.has("rope_parameters") ? in.json()["rope_parameters"]
              : in.has("rope_scaling")  ? in.json()["rope_scaling"]
                                        : Json::object();
  if (!rope.is_object()) bad_input(in.where(), "the rope settings must be a JSON object; got ", rope.dump());
  ConfigFields fields(rope, in.where());
  double theta = fields.positive("rope_theta", in.positive("rope_theta", 10000.0));
  std::string type = fields.text("rope_type", fields.text("type", "default"));
  if (fields.number("partial_rotary_factor", in.number("partial_rotary_factor", 1.0)) != 1.0)
    bad_input(in.where(), "partial_rotary_factor is not implemented");
  for (int64_t i = 0; i < config.head_dim / 2; ++i)
    config.rope_inv_freq.push_back(
        1.0 / std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim)));
  if (type == "linear") {
    for (double& f : config.rope_inv_freq) f /= fields.positive("factor", 1);
  } else if (type == "llama3") {
    scale_llama3(fields, config.rope_inv_freq);
  } else if (type != "default") {
    bad_input(in.where(), "the rope type '", type, "' is not implemented; known: default, linear, llama3");
  }
}

void refuse_sliding_window(const ConfigFields& in, const DecoderConfig& config) {
  // The first max_window_layers layers see everything.
  bool on = in.flag("use_sliding_window", false) && in.has("sliding_window") &&
            in.number("max_window_layers", 28) < static_cast<double>(config.layers) &&
            in.size("sliding_window") < config.max_positions;
  if (in.has("layer_types"))
    for (const auto& type : in.json()["layer_types"]) on |= type != "full_attention" && in.has("sliding_window");
  if (on) bad_input(in.where(), "sliding-window attention is not implemented");
}

void read_llama_like(const ConfigFields& in, DecoderConfig& config) {
  config.hidden_size = in.size("hidden_size"), config.layers = in.size("num_hidden_layers");
  config.heads = in.size("num_attention_heads"), config.kv_heads = in.size("num_key_value_heads", config.heads);
  config.intermediate_size = in.size("intermediate_size");
  config.head_dim =
      in.size("head_dim", config.model_type == "qwen3" ? 128 : std::max<int64_t>(1, config.hidden_size / config.heads));
  config.max_positions = in.size("max_position_embeddings");
  config.norm_eps = in.positive("rms_norm_eps", 1e-6);
  config.activation = activation(in, "hidden_act", "silu");
  config.tied_head = in.flag("tie_word_embeddings", false);
  config.qkv_bias = config.model_type == "qwen2" || in.flag("attention_bias", false);
  config.out_bias = config.model_type != "qwen2" && in.flag("attention_bias", false);
  config.mlp_bias = config.model_type == "llama" && in.flag("mlp_bias", false);
  config.qk_norm = config.model_type == "qwen3";
  refuse_sliding_window(in, config);
  read_rope(in, config);
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
  in.only("scale_attn_weights", true), in.only("scale_attn_by_inverse_layer_idx", false),
      in.only("add_cross_attention", false);
  if (config.heads * config.head_dim != config.hidden_size)
    bad_input(in.where(), "n_embd must be a multiple of n_head");
}

/// The families, and what their language models are called.
struct Family {
  const char *type, *prefix, *language_model;
};
constexpr Family kFamilies[] = {{"qwen2", "Qwen2", "Qwen2ForCausalLM"},
                                {"qwen3", "Qwen3", "Qwen3ForCausalLM"},
                                {"llama", "Llama", "LlamaForCausalLM"},
                                {"gpt2", "GPT2", "GPT2LMHeadModel"}};
constexpr char kSequence[] = "ForSequenceClassification", kToken[] = "ForTokenClassification";

/// Sets architecture, model_type and the kind of head.
void read_architecture(const ConfigFields& in, DecoderConfig& config) {
  const Json& json = in.json();
  if (in.has("architectures") && json["architectures"].is_array() && !json["architectures"].empty() &&
      json["architectures"][0].is_string())
    config.architecture = json["architectures"][0];
  config.model_type = in.text("model_type", "");
  std::vector<std::string> names;
  bool known = false, scores = false;
  for (const auto& family : kFamilies) {
    names.push_back(family.language_model);
    if (config.architecture.empty() && config.model_type == family.type) config.architecture = family.language_model;
    bool sequence = config.architecture == std::string(family.prefix) + kSequence;
    bool token = config.architecture == std::string(family.prefix) + kToken && std::string(family.type) != "gpt2";
    if (config.architecture != family.language_model && !sequence && !token) continue;
    config.model_type = family.type, known = true, scores = sequence || token, config.head_bias = token;
  }
  if (!known)
    bad_input(in.where(), "the architecture '", config.architecture.empty() ? config.model_type : config.architecture,
              "' is not known; known: ", join(names, ", "), ", and for reward models ...", kSequence, " and ...",
              kToken);
  if (!scores) return;
  bool named = in.has("id2label") && json["id2label"].is_object();
  config.labels =
      named ? std::max<int64_t>(static_cast<int64_t>(json["id2label"].size()), 1) : in.size("num_labels", 2);
}

}  // namespace

DecoderConfig DecoderConfig::with_score_head(int64_t labels, bool every_token, int64_t pad_id) const {
  auto json = nlohmann::ordered_json::parse(this->json);
  for (const auto& family : kFamilies)
    if (model_type == family.type)
      json["architectures"] = {std::string(family.prefix) + (every_token ? kToken : kSequence)};
  nlohmann::ordered_json id2label, label2id;
  for (int64_t i = 0; i < labels; ++i) {
    std::string label = "LABEL_" + std::to_string(i);
    id2label[std::to_string(i)] = label, label2id[label] = i;
  }
  json["id2label"] = id2label, json["label2id"] = label2id;
  if (!json.contains("pad_token_id") || json["pad_token_id"].is_null()) json["pad_token_id"] = pad_id;
  return from_json(json.dump(2) + "\n", "config.json");
}

DecoderConfig DecoderConfig::from_json(const std::string& text, const std::string& where) {
  if (too_deep_at(text, kMaxDepth)) bad_input(where, "JSON may nest at most ", kMaxDepth, " deep; this nests deeper");
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) bad_input(where, "this is not a JSON object");
  ConfigFields in(json, where);
  DecoderConfig config;
  config.json = text;
  read_architecture(in, config);
  if (in.has("quantization_config"))
    bad_input(where, "'quantization_config': quantized weights are not read; dequantize and save them first");
  config.vocab_size = in.size("vocab_size");
  config.initializer_range = in.number("initializer_range", 0.02);
  config.model_type == "gpt2" ? read_gpt2(in, config) : read_llama_like(in, config);
  if (config.labels) config.tied_head = false;
  if (config.layers > kMostLayers)
    bad_input(where, "a model may have at most ", kMostLayers, " layers; got ", config.layers);
  if (config.heads * config.head_dim > kLargest)
    bad_input(where, "the heads are too large: ", config.heads, " of ", config.head_dim);
  if (config.heads % config.kv_heads)
    bad_input(where, "num_attention_heads must be a multiple of num_key_value_heads; got ", config.heads, " and ",
              config.kv_heads);
  if (config.rope && config.head_dim % 2) bad_input(where, "head_dim must be even; got ", config.head_dim);
  return config;
}

}  // namespace rft
