// adapter_config.json, PEFT's LoraConfig.
#include <nlohmann/json.hpp>
#include <set>

#include "nn/low_rank.h"
#include "nn/peft_names.h"
#include "rft/core/error.h"
#include "rft/nn/decoder.h"

namespace rft {
namespace {

/// Fields that are read, say how an adapter began, or only matter beside one that is refused.
const std::set<std::string> kKnown{"alpha_pattern",
                                   "auto_mapping",
                                   "base_model_name_or_path",
                                   "bias",
                                   "corda_config",
                                   "eva_config",
                                   "fan_in_fan_out",
                                   "inference_mode",
                                   "init_lora_weights",
                                   "layers_pattern",
                                   "loftq_config",
                                   "lora_alpha",
                                   "lora_dropout",
                                   "lora_ga_config",
                                   "megatron_core",
                                   "modules_to_save",
                                   "peft_type",
                                   "peft_version",
                                   "qalora_group_size",
                                   "r",
                                   "rank_pattern",
                                   "revision",
                                   "target_modules",
                                   "task_type",
                                   "use_dora",
                                   "use_rslora",
                                   "runtime_config"};

/// Any other field that is not switched off changes the computation in a way that is not implemented.
void refuse_unknown_features(const nlohmann::ordered_json& json, const std::string& where) {
  for (const auto& [name, value] : json.items()) {
    bool off = value.is_null() || value == false || ((value.is_object() || value.is_array()) && value.empty());
    if (!off && !kKnown.count(name)) bad_input(where, "'", name, "' is not implemented; got ", value.dump());
  }
  if (json.value("bias", "none") != "none") bad_input(where, "'bias' must be \"none\"; got ", json["bias"].dump());
  // The others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) take something out of the base's weights first.
  auto start = json.value("init_lora_weights", nlohmann::ordered_json(true));
  if (!start.is_boolean() && start != "gaussian" && start != "eva" && start != "orthogonal")
    bad_input(where,
              "'init_lora_weights' must be true, false, gaussian, eva or orthogonal, which leave the base as it ",
              "is; got ", start.dump());
}

void read_targets(LoraConfig& config, const nlohmann::ordered_json& targets, const std::string& where) {
  if (targets.is_array())
    config.target_modules = targets.get<std::vector<std::string>>();
  else if (!targets.is_string())
    bad_input(where, "target_modules must be a list of names, a regular expression or \"all-linear\"; got ",
              targets.dump());
  else if (targets != "all-linear")
    config.target_regex = targets.get<std::string>();
}

const char* task_type(const DecoderConfig& config) {
  if (!config.labels) return "CAUSAL_LM";
  return config.head_bias ? "TOKEN_CLS" : "SEQ_CLS";
}

nlohmann::ordered_json pattern_json(const NamedNumbers& numbers) {
  auto out = nlohmann::ordered_json::object();
  for (const auto& [pattern, number] : numbers) out[pattern] = plain_number(number);
  return out;
}

}  // namespace

LoraConfig lora_config(const std::string& text, const std::string& where) {
  auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!json.is_object()) bad_input(where, "this is not a JSON object");
  LoraConfig config;
  try {
    if (json.value("peft_type", "") != "LORA")
      bad_input(where, "only LoRA adapters are read; got peft_type ", json.value("peft_type", ""));
    refuse_unknown_features(json, where);
    config.rank = json.at("r").get<int64_t>();
    config.alpha = json.at("lora_alpha").get<double>();
    config.rslora = json.value("use_rslora", false);
    config.dora = json.value("use_dora", false);
    config.rank_pattern = pattern_numbers(json, "rank_pattern");
    config.alpha_pattern = pattern_numbers(json, "alpha_pattern");
    if (json.contains("modules_to_save") && !json["modules_to_save"].is_null())
      config.modules_to_save = json["modules_to_save"].get<std::vector<std::string>>();
    read_targets(config, json.at("target_modules"), where);
  } catch (const nlohmann::json::exception& error) {
    bad_input(where, error.what());
  }
  if (config.rank < 1) bad_input(where, "r must be at least 1; got ", config.rank);
  return config;
}

std::string peft_config_json(const LoraConfig& config, const std::string& base_model, const PeftModel& model) {
  std::set<std::string> targets(config.target_modules.begin(), config.target_modules.end());
  if (targets.empty() && config.target_regex.empty()) targets = model.adapted;
  nlohmann::ordered_json json{
      {"peft_type", "LORA"},
      {"task_type", model.task},
      {"base_model_name_or_path", base_model},
      {"r", config.rank},
      {"lora_alpha", plain_number(config.alpha)},
      {"lora_dropout", config.dropout},
      {"use_rslora", config.rslora},
      {"use_dora", config.dora},
      {"rank_pattern", pattern_json(config.rank_pattern)},
      {"alpha_pattern", pattern_json(config.alpha_pattern)},
      {"target_modules", targets},
      {"fan_in_fan_out", model.stored_transposed},
      {"bias", "none"},
      {"init_lora_weights", true},
      {"modules_to_save", nullptr},
      {"inference_mode", true},
  };
  if (!config.modules_to_save.empty()) json["modules_to_save"] = config.modules_to_save;
  if (!config.target_regex.empty()) json["target_modules"] = config.target_regex;
  // A path need not be UTF-8; JSON must.
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string peft_config_json(const Decoder& decoder, const LoraConfig& config, const std::string& base_model) {
  PeftModel model{task_type(decoder.config()), {}, decoder.config().model_type == "gpt2"};
  for (const DecoderLayer& layer : decoder.weights().layers)
    for (const Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      for (const Adapter& adapter : linear->adapters)
        if (adapter.set == 0) model.adapted.insert(last_part(adapter.module));
  return peft_config_json(config, base_model, model);
}

}  // namespace rft
