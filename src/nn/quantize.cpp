#include "rft/nn/quantize.h"

#include <ATen/ATen.h>

#include "nn/quantize_linears.h"
#include "rft/core/error.h"
#include "rft/ops/quantized.h"

namespace rft {

void check_quantizable(const at::Device& device) {
  if (!device.is_cpu()) bad_input("policy.quantize", "is for models on the CPU; this one is on ", device.str());
}

void for_quantized(DecoderWeights& weights, const std::function<void(Linear&, const std::string& what)>& each) {
  int64_t index = 0;
  for (DecoderLayer& layer : weights.layers) {
    auto one = [&](Linear& linear, const char* what) {
      if (linear.weight.defined()) each(linear, cat("layer ", index, "'s ", what));
    };
    one(layer.qkv, "attention"), one(layer.out, "attention");
    one(layer.gate_up, "MLP"), one(layer.down, "MLP");
    for (ExpertLayer& expert : layer.experts) one(expert.gate_up, "experts"), one(expert.down, "experts");
    ++index;
  }
}

void pack_linear(Linear& linear, const std::string& kind, const std::string& what) {
  auto packed = ops::quantize(linear.weight, kind, "policy.quantize: " + what);
  linear.weight = packed.codes, linear.scale = packed.scale;
  if (linear.bias.defined()) linear.bias.requires_grad_(false);
}

void quantize(Decoder& decoder, const std::string& kind) {
  check_quantizable(decoder.device());
  for_quantized(decoder.weights(), [&](Linear& linear, const std::string& what) { pack_linear(linear, kind, what); });
}

}  // namespace rft
