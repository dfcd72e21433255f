#pragma once
/// The families of decoders: what their config.json is called and how it is read.
#include <vector>

#include "nn/config_fields.h"
#include "rft/nn/decoder.h"

namespace rft {

struct Family {
  const char* type;            ///< model_type
  const char* prefix;          ///< of the classes: "Qwen2"
  const char* language_model;  ///< "Qwen2ForCausalLM"
  void (*read)(const ConfigFields& in, DecoderConfig& config);
};

const std::vector<Family>& decoder_families();

}  // namespace rft
