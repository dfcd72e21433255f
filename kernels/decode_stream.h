#pragma once
/// The residual stream, float32, at both ends of a layer's products. S tokens, D numbers, D a multiple of 8.
#include <cstdint>

#include "kernels/decode_linear.h"

namespace rft::kernels {

/// stream [S, D] = bf16(table[token] * scale), float32; zeros where `position` [S] is negative. table [V, D] bfloat16;
/// `scale` is a bfloat16 number. Returns a cudaError_t, 0 = success.
int decode_embed(const void* table, const int* token, const int* position, float scale, int tokens, int width,
                 float* stream_out, void* stream);

/// y [S, D] bfloat16 = what StreamNorm describes, for any number of tokens, and norm.sum where not null.
int decode_norm(const StreamNorm& norm, int tokens, int width, void* y, void* stream);

}  // namespace rft::kernels
