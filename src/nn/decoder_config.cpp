#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/config_fields.h"
#include "nn/decoder_families.h"
#include "nn/transformers_config.h"
#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/core/text.h"
#include "rft/nn/decoder.h"

namespace rft {
namespace {

using Json = nlohmann::json;
constexpr int64_t kMostExperts = 1 << 18;
constexpr int kMaxDepth = 64;

constexpr char kSequence[] = "ForSequenceClassification", kToken[] = "ForTokenClassification";

/// Sets architecture, model_type and the kind of head; returns the family.
const Family& read_architecture(const ConfigFields& in, DecoderConfig& config) {
  const Json& json = in.json();
  if (in.has("architectures") && json["architectures"].is_array() && !json["architectures"].empty() &&
      json["architectures"][0].is_string())
    config.architecture = json["architectures"][0];
  config.model_type = in.text("model_type", "");
  std::vector<std::string> names;
  const Family* known = nullptr;
  bool scores = false;
  for (const Family& family : decoder_families()) {
    names.push_back(family.language_model);
    if (config.architecture.empty() && config.model_type == family.type) config.architecture = family.language_model;
    bool sequence = config.architecture == std::string(family.prefix) + kSequence;
    bool token = config.architecture == std::string(family.prefix) + kToken && std::string(family.type) != "gpt2";
    if (config.architecture != family.language_model && !sequence && !token) continue;
    config.model_type = family.type, scores = sequence || token, config.head_bias = token;
    known = &family;
  }
  if (!known)
    bad_input(in.where(), "the architecture '", config.architecture.empty() ? config.model_type : config.architecture,
              "' is not known; known: ", join(names, ", "), ", and for reward models ...", kSequence, " and ...",
              kToken);
  if (!scores) return *known;
  bool named = in.has("id2label") && json["id2label"].is_object();
  config.labels =
      named ? std::max<int64_t>(static_cast<int64_t>(json["id2label"].size()), 1) : in.size("num_labels", 2);
  return *known;
}

}  // namespace

DecoderConfig DecoderConfig::with_score_head(int64_t labels, bool every_token, int64_t pad_id) const {
  auto json = nlohmann::ordered_json::parse(this->json);
  for (const Family& family : decoder_families())
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
  const Family& family = read_architecture(in, config);
  if (in.has("quantization_config"))
    bad_input(where, "'quantization_config': quantized weights are not read; dequantize and save them first");
  config.vocab_size = in.size("vocab_size");
  config.initializer_range = in.number("initializer_range", 0.02);
  family.read(in, config);
  if (config.labels) config.tied_head = false;
  if (config.layers * config.experts.count > kMostExperts)
    bad_input(where, "a model may have at most ", kMostExperts, " experts in all its layers; got ",
              config.layers * config.experts.count);
  if (config.heads * config.head_dim > ConfigFields::kLargest)
    bad_input(where, "the heads are too large: ", config.heads, " of ", config.head_dim);
  if (config.heads % config.kv_heads)
    bad_input(where, "num_attention_heads must be a multiple of num_key_value_heads; got ", config.heads, " and ",
              config.kv_heads);
  in.ignore(general_fields());
  in.ignore({"bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "mask_token_id", "auto_map", "model_name",
             "name_or_path", "attn_implementation", "output_router_logits", "chat_template", "suppress_tokens",
             "tokenizer_name", "unsloth_fixed", "unsloth_version", "transformers.js_config"});
  in.finish();
  return config;
}

}  // namespace rft
