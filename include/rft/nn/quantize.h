#pragma once
/// Frozen base weights in fewer bits, under adapters (QLoRA) or for sampling.
#include <string>

#include "rft/nn/decoder.h"

namespace rft {

/// Replaces the weights of the decoder's linear layers (attention, MLPs and experts; not embeddings, head and routers)
/// by codes of rft/ops/quantized.h, `kind` "int8" or "nf4"; a directory's are packed while they are read
/// (DecoderReading), which takes less memory. Adapters that it has stay as they are; it can no longer be
/// trained itself, merged or saved. Throws UserError where the decoder is not on the CPU, or a layer's shape does not
/// allow it.
void quantize(Decoder& decoder, const std::string& kind);

}  // namespace rft
