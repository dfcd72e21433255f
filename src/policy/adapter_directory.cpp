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
  return lora_config(read_text(file), file);
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
