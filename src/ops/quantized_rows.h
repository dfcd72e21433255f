#pragma once
/// Rows of quantised weights as float32, shared by training and decoding.
#include <cstdint>

namespace rft::ops {

/// The levels of NormalFloat4 (QLoRA, appendix E), as bitsandbytes has them.
inline constexpr int kNf4Count = 16;
inline constexpr float kNf4Levels[kNf4Count] = {-1.0F,
                                                -0.6961928009986877F,
                                                -0.5250730514526367F,
                                                -0.39491748809814453F,
                                                -0.28444138169288635F,
                                                -0.18477343022823334F,
                                                -0.09105003625154495F,
                                                0.0F,
                                                0.07958029955625534F,
                                                0.16093020141124725F,
                                                0.24611230194568634F,
                                                0.33791524171829224F,
                                                0.44070982933044434F,
                                                0.5626170039176941F,
                                                0.7229568362236023F,
                                                1.0F};

/// `count` numbers of a row (a multiple of 64) from nf4 codes [count / 2] and scales [count / 64].
void unpack_nf4(const uint8_t* codes, const float* scale, int64_t count, float* out);

}  // namespace rft::ops
