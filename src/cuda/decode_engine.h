#pragma once
/// Continuous batching on the GPU. A step of all samples in the making is one graph; the host enqueues some of them at
/// once and reads the tokens of the last lot meanwhile, so that the device never waits.
#include <memory>

#include "policy/token_engine.h"

namespace rft::cuda {

/// The decoder must be on the current device. Throws RunError on a type of weights that has no kernels.
std::unique_ptr<TokenEngine> decode_engine(const Decoder& decoder, const Tokenizer* tokenizer, int64_t batch_size);

}  // namespace rft::cuda
