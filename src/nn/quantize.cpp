#include "rft/nn/quantize.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/ops/quantized.h"

namespace rft {

void quantize(Decoder& decoder, const std::string& kind) {
  if (!decoder.device().is_cpu())
    bad_input("policy.quantize", "is for models on the CPU; this one is on ", decoder.device().str());
  int64_t index = 0;
  auto pack = [&](Linear& linear, const char* what) {
    if (!linear.weight.defined()) return;
    auto packed = ops::quantize(linear.weight, kind, cat("policy.quantize: layer ", index, "'s ", what));
    linear.weight = packed.codes, linear.scale = packed.scale;
    if (linear.bias.defined()) linear.bias.requires_grad_(false);
  };
  for (DecoderLayer& layer : decoder.weights().layers) {
    pack(layer.qkv, "attention"), pack(layer.out, "attention");
    pack(layer.gate_up, "MLP"), pack(layer.down, "MLP");
    for (ExpertLayer& expert : layer.experts) pack(expert.gate_up, "experts"), pack(expert.down, "experts");
    ++index;
  }
}

}  // namespace rft
