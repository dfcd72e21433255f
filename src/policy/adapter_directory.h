#pragma once
/// PEFT adapter directories: adapter_config.json and adapter_model.safetensors.
#include <map>
#include <string>
#include <vector>

#include "rft/nn/decoder.h"

namespace rft {

/// True where `directory` holds an adapter and no model.
bool is_adapter_directory(const std::string& directory);
/// The model directory an adapter belongs to; a relative path is taken from the working directory, then from the
/// adapter's own. Throws UserError where there is none.
std::string adapter_base(const std::string& directory);
/// The same, of any directory: that of the model itself where it holds no adapter.
std::string model_directory(const std::string& directory);
/// Of a policy's options: where `path` is an adapter's it becomes that of its base model, and `adapter` its own; what
/// `adapter` says replaces `lora`. Throws UserError where both name adapters.
void follow_adapter(std::string& path, std::string& adapter, LoraConfig& lora, bool& use_lora);
/// PEFT's task_type, "CAUSAL_LM" or such; "" where it says none.
std::string adapter_task(const std::string& directory);
/// adapter_config.json. Throws UserError on what is not LoRA or is not implemented (bias).
LoraConfig read_adapter_config(const std::string& directory);
/// adapter_model.safetensors, and the file's name for messages.
struct AdapterTensors {
  std::map<std::string, Tensor> tensors;
  std::string file;
};
AdapterTensors read_adapter_tensors(const std::string& directory);
/// Fills the decoder's adapters.
void load_adapter(Decoder& decoder, const std::string& directory);
/// Adds a directory's adapters as those of `set`, above 0 or Adapter::kFrozen, beside what the decoder has. Throws
/// UserError where they do not fit it, or are DoRA's or come with modules trained whole, which only a model's own can
/// be.
void add_adapter_set(Decoder& decoder, const std::string& directory, int64_t set);
/// Writes both files; `config` is adapter_config.json's text for a base model's absolute path.
void save_adapter(const std::string& config, const std::map<std::string, Tensor>& tensors,
                  const std::string& directory);
/// A base model's path as adapter_config.json names it.
std::string absolute_base(const std::string& base);
void save_adapter(const Decoder& decoder, const LoraConfig& config, const std::string& base,
                  const std::string& directory);

}  // namespace rft
