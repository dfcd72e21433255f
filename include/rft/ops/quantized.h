#pragma once
/// Frozen weights in 8 or 4 bits a number: they are read, unpacked, and never trained.
///
/// int8: codes [out, in] int8, scale [out] float32, w = scale[row] * code, scale = max |row| / 127, codes rounded to
/// the nearest (the vector-wise quantisation of LLM.int8(), Dettmers et al. 2022, arXiv:2208.07339, without outliers).
/// nf4: codes [out, in / 2] uint8, scale [out, in / 64] float32, w = scale[block] * level, 16 levels at the quantiles
/// of a normal distribution, two to a byte with the first in the upper half; a block is 64 numbers of a row. The codes
/// of bitsandbytes' quantize_4bit(quant_type="nf4", blocksize=64). Source: QLoRA, Dettmers et al. 2023,
/// arXiv:2305.14314 (without its double quantisation).
#include <string>

#include "rft/core/tensor.h"

namespace rft::ops {

struct Quantized {
  Tensor codes, scale;
};

/// Numbers that share a scale in nf4.
inline constexpr int64_t kNf4Block = 64;

/// `weight` [out, in] floating-point on the CPU, `kind` "int8" or "nf4". Throws UserError naming `where` where nf4's
/// blocks do not divide `in`, or a number is not finite.
Quantized quantize(const Tensor& weight, const std::string& kind, const std::string& where);

/// Whether these are codes of quantize().
bool is_quantized(const Tensor& weight);
/// Numbers of a row: what codes [out, ...] stand for is [out, columns].
int64_t columns(const Tensor& weight);
/// [out, in] of `type`: what the codes stand for; a weight that is none, as it is (of its own type).
Tensor dequantize(const Tensor& weight, const Tensor& scale, at::ScalarType type);

}  // namespace rft::ops
