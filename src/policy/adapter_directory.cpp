#include "policy/adapter_directory.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/safetensors.h"

namespace rft {
namespace {

nlohmann::json read_config(const std::string& directory) {
  std::string file = directory + "/adapter_config.json";
  auto json = nlohmann::json::parse(read_text(file), nullptr, false);
  if (!json.is_object()) bad_input(file, "this is not a JSON object");
  return json;
}

/// Fields of PEFT's LoraConfig that change the computation and are not implemented, with the values that switch them
/// off.
void refuse_unknown_features(const nlohmann::json& json, const std::string& file) {
  for (const char* name :
       {"use_dora", "layer_replication", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform",
        "trainable_token_indices", "target_parameters", "lora_bias", "fan_in_fan_out"}) {
    if (!json.contains(name)) continue;
    const auto& value = json[name];
    bool off = value.is_null() || value == false || ((value.is_object() || value.is_array()) && value.empty());
    // fan_in_fan_out only says how GPT-2 stores its weights, not what is computed.
    if (!off && std::string(name) != "fan_in_fan_out")
      bad_input(file, "'", name, "' is not implemented; got ", value.dump());
  }
  if (json.value("bias", "none") != "none") bad_input(file, "'bias' must be \"none\"; got ", json["bias"].dump());
}

}  // namespace

bool is_adapter_directory(const std::string& directory) {
  return file_exists(directory + "/adapter_config.json") && !file_exists(directory + "/config.json");
}

std::string adapter_base(const std::string& directory) {
  auto json = read_config(directory);
  std::string base = json.value("base_model_name_or_path", "");
  for (const auto& candidate : {std::filesystem::path(base), std::filesystem::path(directory) / base})
    if (!base.empty() && std::filesystem::is_directory(candidate)) return candidate.string();
  bad_input(directory + "/adapter_config.json", "base_model_name_or_path must name a model directory; got '", base,
            "'");
}

LoraConfig read_adapter_config(const std::string& directory) {
  std::string file = directory + "/adapter_config.json";
  auto json = read_config(directory);
  if (json.value("peft_type", "") != "LORA")
    bad_input(file, "only LoRA adapters are read; got peft_type ", json.value("peft_type", ""));
  refuse_unknown_features(json, file);
  LoraConfig config;
  try {
    config.rank = json.at("r").get<int64_t>();
    config.alpha = json.at("lora_alpha").get<double>();
    config.rslora = json.value("use_rslora", false);
    const auto& targets = json.at("target_modules");
    if (targets.is_array())
      config.target_modules = targets.get<std::vector<std::string>>();
    else if (targets != "all-linear")
      bad_input(file, "target_modules must be a list of names or \"all-linear\"; got ", targets.dump());
  } catch (const nlohmann::json::exception& error) {
    bad_input(file, error.what());
  }
  if (config.rank < 1) bad_input(file, "r must be at least 1; got ", config.rank);
  return config;
}

void load_adapter(Decoder& decoder, const std::string& directory) {
  std::string file = directory + "/adapter_model.safetensors";
  load_peft_tensors(decoder, load_safetensors(file).tensors, file);
}

void save_adapter(const Decoder& decoder, const LoraConfig& config, const std::string& base,
                  const std::string& directory) {
  auto absolute = std::filesystem::absolute(base).lexically_normal().string();
  write_text(directory + "/adapter_config.json", peft_config_json(decoder, config, absolute));
  save_safetensors(directory + "/adapter_model.safetensors", peft_tensors(decoder));
}

}  // namespace rft
