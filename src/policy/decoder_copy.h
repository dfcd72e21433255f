#pragma once
#include "rft/nn/decoder.h"

namespace rft {

/// The decoder as it is now: what is trained copied, what is frozen shared. Without gradients; ties stay.
Decoder copied_trained(const Decoder& decoder);

}  // namespace rft
