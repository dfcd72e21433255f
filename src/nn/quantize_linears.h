#pragma once
/// The linear layers of a decoder that are quantized, one by one.
#include <functional>
#include <string>

#include "rft/nn/decoder.h"

namespace rft {

/// Throws UserError where weights on `device` can't be quantized.
void check_quantizable(const at::Device& device);
/// Calls each(linear, what) for attention, MLPs and experts; `what` says which, "layer 3's MLP".
void for_quantized(DecoderWeights& weights, const std::function<void(Linear&, const std::string& what)>& each);
/// Replaces the weight by its codes. Throws UserError naming `what` where its shape does not allow it.
void pack_linear(Linear& linear, const std::string& kind, const std::string& what);

}  // namespace rft
