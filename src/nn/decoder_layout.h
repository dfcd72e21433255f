#pragma once
/// Hugging Face's tensors as places in our fused weights; read and written through the same list.
#include <string>
#include <vector>

#include "rft/nn/decoder.h"

namespace rft {

struct TensorPlace {
  std::string name;         ///< as save_pretrained writes it
  Tensor place;             ///< a view into the weights
  bool transposed = false;  ///< GPT-2 keeps its linear layers as [in, out]
};

/// The place as the directory holds it.
Tensor as_stored(const TensorPlace& place);

/// Empty weights of the right shapes; on the meta device they take no memory.
DecoderWeights allocate_weights(const DecoderConfig& config, const at::TensorOptions& options);
/// Every tensor of the directory, once. A tied head has no place of its own.
std::vector<TensorPlace> tensor_places(const DecoderConfig& config, const DecoderWeights& weights);

}  // namespace rft
