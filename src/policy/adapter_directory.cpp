#include "policy/adapter_directory.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/io/adapter_files.h"
#include "rft/io/files.h"
#include "rft/io/safetensors.h"

namespace rft {
namespace {

nlohmann::json read_config(const std::string& directory) {
  std::string file = directory + kAdapterConfig;
  auto json = nlohmann::json::parse(read_text(file), nullptr, false);
  if (!json.is_object()) bad_input(file, "this is not a JSON object");
  return json;
}

}  // namespace

bool is_adapter_directory(const std::string& directory) {
  return file_exists(directory + kAdapterConfig) && !file_exists(directory + "/config.json");
}

std::string adapter_base(const std::string& directory) {
  auto json = read_config(directory);
  std::string base = json.value("base_model_name_or_path", "");
  for (const auto& candidate : {std::filesystem::path(base), std::filesystem::path(directory) / base})
    if (!base.empty() && std::filesystem::is_directory(candidate)) return candidate.string();
  bad_input(directory + kAdapterConfig, "base_model_name_or_path must name a model directory; got '", base, "'");
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
  std::string file = directory + kAdapterConfig;
  return lora_config(read_text(file), file);
}

AdapterTensors read_adapter_tensors(const std::string& directory) {
  std::string file = directory + kAdapterTensors;
  return {load_safetensors(file).tensors, file};
}

void load_adapter(Decoder& decoder, const std::string& directory) {
  const auto [tensors, file] = read_adapter_tensors(directory);
  load_peft_tensors(decoder, tensors, file);
}

void add_adapter_set(Decoder& decoder, const std::string& directory, int64_t set) {
  const LoraConfig config = read_adapter_config(directory);
  if (config.dora || !config.modules_to_save.empty())
    bad_input(directory, config.dora ? "DoRA's magnitudes" : "modules that are trained whole",
              " can only be a model's own; `rft merge` makes a model of these adapters");
  std::vector<std::pair<Linear*, std::vector<Adapter>>> before;
  for (DecoderLayer& layer : decoder.weights().layers)
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      before.emplace_back(linear, std::exchange(linear->adapters, {}));
  add_lora(decoder, config, 0);
  load_adapter(decoder, directory);
  for (auto& [linear, adapters] : before) {
    for (Adapter& adapter : linear->adapters) {
      adapter.set = set;
      adapter.a.requires_grad_(false), adapter.b.requires_grad_(false);
      adapters.push_back(std::move(adapter));
    }
    linear->adapters = std::move(adapters);
  }
}

std::string absolute_base(const std::string& base) {
  return std::filesystem::absolute(base).lexically_normal().string();
}

void save_adapter(const std::string& config, const std::map<std::string, Tensor>& tensors,
                  const std::string& directory) {
  write_text(directory + kAdapterConfig, config);
  save_safetensors(directory + kAdapterTensors, tensors);
}

void save_adapter(const Decoder& decoder, const LoraConfig& config, const std::string& base,
                  const std::string& directory) {
  save_adapter(peft_config_json(decoder, config, absolute_base(base)), peft_tensors(decoder), directory);
}

}  // namespace rft
