#include "policy/decoder_copy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>

namespace rft {
namespace {

/// Puts copies in the place of tensors, one for each, however often it stands there.
class Copier {
 public:
  void tensor(Tensor& value) {
    if (!value.defined()) return;
    auto [found, fresh] = copies_.try_emplace(value.unsafeGetTensorImpl());
    if (fresh) found->second = value.requires_grad() ? value.detach().clone() : value;
    value = found->second;
  }
  void norm(Norm& norm) { tensor(norm.weight), tensor(norm.bias); }
  void linear(Linear& linear) {
    tensor(linear.weight), tensor(linear.bias), tensor(linear.scale);
    for (Adapter& adapter : linear.adapters) tensor(adapter.a), tensor(adapter.b), tensor(adapter.magnitude);
  }
  void layer(DecoderLayer& layer) {
    for (Norm* one : {&layer.attention_norm, &layer.mlp_norm, &layer.attention_post_norm, &layer.mlp_post_norm,
                      &layer.q_norm, &layer.k_norm})
      norm(*one);
    for (Linear* one : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down, &layer.router}) linear(*one);
    for (ExpertLayer& expert : layer.experts) linear(expert.gate_up), linear(expert.down);
  }

 private:
  std::map<const at::TensorImpl*, Tensor> copies_;  ///< the originals live as long as this does
};

}  // namespace

Decoder copied_trained(const Decoder& decoder) {
  at::NoGradGuard no_grad;
  Decoder out = decoder;
  DecoderWeights& weights = out.weights();
  Copier copier;
  copier.tensor(weights.token_embedding), copier.tensor(weights.position_embedding);
  for (DecoderLayer& layer : weights.layers) copier.layer(layer);
  copier.norm(weights.final_norm);
  copier.tensor(weights.head), copier.tensor(weights.head_bias);
  return out;
}

}  // namespace rft
