#pragma once
/// Rotary position embedding in the half layout: pairs (d, d + half) of a head turn by their angle.
#include <cstdint>

#include "kernels/host_device.h"

namespace rft::kernels {

enum class NumberType : int;

struct RotaryShape {
  int64_t tokens, heads, rotated;  ///< the first `rotated` heads turn, the others are copied
  int64_t half;                    ///< of a head's numbers
  int64_t stride;                  ///< numbers from a token's first to the next one's; heads lie dense
};

/// x [tokens, heads, 2 half], cos, sin [tokens, half] -> y, dense. sign -1 turns back. Returns a cudaError_t.
int rotary_turn(const void* x, const void* cos, const void* sin, NumberType type, const RotaryShape& shape, float sign,
                void* y, void* stream);

}  // namespace rft::kernels
