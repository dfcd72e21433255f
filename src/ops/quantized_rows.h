#pragma once
/// Rows of quantised weights as float32, shared by training and decoding.
#include <cstdint>

namespace rft::ops {

/// `count` numbers of a row (a multiple of 64) from nf4 codes [count / 2] and scales [count / 64].
void unpack_nf4(const uint8_t* codes, const float* scale, int64_t count, float* out);
/// out[i] = scale * codes[i]
void unpack_int8(const int8_t* codes, float scale, int64_t count, float* out);

}  // namespace rft::ops
