#pragma once
/// What every config.json of transformers may carry.
#include "core/model_config.h"

namespace rft {

/// Names the fields of transformers' PretrainedConfig that an encoder's forward pass doesn't depend on: those of text
/// generation, of training heads, and of how outputs are returned. Older versions write them all into each part.
void ignore_general_fields(ModelConfig& config);

}  // namespace rft
