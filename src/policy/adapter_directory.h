#pragma once
/// PEFT adapter directories: adapter_config.json and adapter_model.safetensors.
#include <string>

#include "rft/nn/decoder.h"

namespace rft {

/// True where `directory` holds an adapter and no model.
bool is_adapter_directory(const std::string& directory);
/// The model directory an adapter belongs to; a relative path is taken from the working directory, then from the
/// adapter's own. Throws UserError where there is none.
std::string adapter_base(const std::string& directory);
/// adapter_config.json. Throws UserError on what is not LoRA or is not implemented (bias, modules_to_save).
LoraConfig read_adapter_config(const std::string& directory);
/// Fills the decoder's adapters.
void load_adapter(Decoder& decoder, const std::string& directory);
void save_adapter(const Decoder& decoder, const LoraConfig& config, const std::string& base,
                  const std::string& directory);

}  // namespace rft
