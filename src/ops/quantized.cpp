#include "rft/ops/quantized.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstring>

#include "ops/quantized_rows.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

/// A byte's two levels, the upper half's first.
struct Pairs {
  float levels[256][2];
  Pairs() {
    for (size_t byte = 0; byte < 256; ++byte)
      levels[byte][0] = kNf4Levels[byte >> 4], levels[byte][1] = kNf4Levels[byte & 15];
  }
};

Quantized to_int8(const Tensor& weight) {
  Tensor scale = weight.abs().amax(1).div(127);
  Tensor divisor = at::where(scale.gt(0), scale, at::ones_like(scale));
  return {weight.div(divisor.unsqueeze(1)).round().clamp(-127, 127).to(at::kChar), scale.contiguous()};
}

Quantized to_nf4(const Tensor& weight) {
  const int64_t out = weight.size(0), blocks = weight.size(1) / kNf4Block;
  Tensor parts = weight.view({out, blocks, kNf4Block}), scale = parts.abs().amax(2);
  Tensor divisor = at::where(scale.gt(0), scale, at::ones_like(scale));
  std::vector<float> middles;
  for (size_t i = 0; i + 1 < kNf4Count; ++i) middles.push_back((kNf4Levels[i] + kNf4Levels[i + 1]) / 2);
  Tensor codes =
      at::bucketize(parts.div(divisor.unsqueeze(2)), at::tensor(middles)).view({out, blocks * kNf4Block / 2, 2});
  return {codes.select(2, 0).mul(16).add(codes.select(2, 1)).to(at::kByte), scale.contiguous()};
}

void unpack_int8(const int8_t* codes, float scale, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = scale * static_cast<float>(codes[i]);
}

}  // namespace

void unpack_nf4(const uint8_t* codes, const float* scale, int64_t count, float* out) {
  static const Pairs pairs;
  for (int64_t block = 0; block * kNf4Block < count; ++block) {
    const float s = scale[block];
    const uint8_t* from = codes + block * kNf4Block / 2;
    float* to = out + block * kNf4Block;
    for (int64_t i = 0; i < kNf4Block / 2; ++i) std::memcpy(to + 2 * i, pairs.levels[from[i]], 8);
    for (int64_t i = 0; i < kNf4Block; ++i) to[i] *= s;
  }
}

Quantized quantize(const Tensor& weight, const std::string& kind, const std::string& where) {
  if (kind != "int8" && kind != "nf4") bad_input(where, "quantized weights are int8 or nf4; got '", kind, "'");
  Tensor values = weight.detach().to(at::kFloat).contiguous();
  if (!values.isfinite().all().item<bool>()) bad_input(where, "its numbers must be finite to be quantized");
  if (kind == "int8") return to_int8(values);
  if (values.size(1) % kNf4Block)
    bad_input(where, "nf4 takes ", kNf4Block, " numbers of a row together, which must divide its length; this is ",
              values.sizes(), ". int8 takes any");
  return to_nf4(values);
}

bool is_quantized(const Tensor& weight) {
  return weight.defined() && (weight.scalar_type() == at::kChar || weight.scalar_type() == at::kByte);
}

int64_t columns(const Tensor& weight) { return weight.size(1) * (weight.scalar_type() == at::kByte ? 2 : 1); }

Tensor dequantize(const Tensor& weight, const Tensor& scale, at::ScalarType type) {
  if (!is_quantized(weight)) return weight;
  const int64_t rows = weight.size(0), in = columns(weight), blocks = in / kNf4Block;
  Tensor codes = weight.contiguous(), scales = scale.contiguous(), out = at::empty({rows, in}, at::kFloat);
  float* to = out.data_ptr<float>();
  const float* s = scales.const_data_ptr<float>();
  const bool bytes = weight.scalar_type() == at::kByte;
  at::parallel_for(0, rows, std::max<int64_t>(1, 16384 / in), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      if (bytes)
        unpack_nf4(codes.const_data_ptr<uint8_t>() + r * in / 2, s + r * blocks, in, to + r * in);
      else
        unpack_int8(codes.const_data_ptr<int8_t>() + r * in, s[r], in, to + r * in);
    }
  });
  return out.to(type);
}

}  // namespace rft::ops
