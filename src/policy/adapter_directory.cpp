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

std::string model_directory(const std::string& directory) {
  return is_adapter_directory(directory) ? adapter_base(directory) : directory;
}

void follow_adapter(std::string& path, std::string& adapter, LoraConfig& lora, bool& use_lora) {
  if (is_adapter_directory(path)) {
    if (!adapter.empty()) bad_input("policy.path", "'", path, "' is an adapter directory itself");
    adapter = path;
    path = adapter_base(path);
  }
  if (adapter.empty()) return;
  lora = read_adapter_config(adapter);
  use_lora = true;
}

std::string adapter_task(const std::string& directory) {
  auto task = read_config(directory).value("task_type", nlohmann::json());
  return task.is_string() ? task.get<std::string>() : "";
}

LoraConfig read_adapter_config(const std::string& directory) {
  std::string file = directory + "/adapter_config.json";
  return lora_config(read_text(file), file);
}

AdapterTensors read_adapter_tensors(const std::string& directory) {
  std::string file = directory + "/adapter_model.safetensors";
  return {load_safetensors(file).tensors, file};
}

void load_adapter(Decoder& decoder, const std::string& directory) {
  const auto [tensors, file] = read_adapter_tensors(directory);
  load_peft_tensors(decoder, tensors, file);
}

std::string absolute_base(const std::string& base) {
  return std::filesystem::absolute(base).lexically_normal().string();
}

void save_adapter(const std::string& config, const std::map<std::string, Tensor>& tensors,
                  const std::string& directory) {
  write_text(directory + "/adapter_config.json", config);
  save_safetensors(directory + "/adapter_model.safetensors", tensors);
}

void save_adapter(const Decoder& decoder, const LoraConfig& config, const std::string& base,
                  const std::string& directory) {
  save_adapter(peft_config_json(decoder, config, absolute_base(base)), peft_tensors(decoder), directory);
}

}  // namespace rft
