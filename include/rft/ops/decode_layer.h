#pragma once
/// What a transformer layer does between its matrix products, for new tokens, without autograd, on the CPU in float32.
#include <cstdint>
#include <string>

namespace rft::ops {

/// y[n] = norm(x[n]) of rows [rows, dim]: LayerNorm, or RMSNorm where bias is null.
void decode_norm(const float* x, int64_t rows, int64_t dim, const float* weight, const float* bias, double eps,
                 float* y);

/// Rotates the first `turning` numbers of each of heads [heads, head_dim] of one token in place, as Hugging Face's
/// rotate_half: pairs (d, d + turning / 2). cos, sin [turning / 2].
void rotate_heads(float* x, int64_t heads, int64_t head_dim, int64_t turning, const float* cos, const float* sin);

enum class Activation { silu, gelu_erf, gelu_tanh, relu };
/// "silu", "gelu", "gelu_new" (and "gelu_pytorch_tanh"), "relu". Throws RunError on another name.
Activation activation_of(const std::string& name);

/// x [rows, width] in place.
void decode_activation(Activation activation, float* x, int64_t rows, int64_t width);
/// y [rows, width] = activation(gate) * up, where x [rows, 2 * width] holds gate, then up.
void decode_gated_activation(Activation activation, float* x, int64_t rows, int64_t width, float* y);

}  // namespace rft::ops
