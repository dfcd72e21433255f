// The forward pass of few tokens in five kernels a layer. Each product hands its slices' sums to the norm behind it,
// which adds them to the stream.
#include <ATen/ATen.h>

#include <algorithm>

#include "cuda/decode_forward.h"
#include "cuda/runtime.h"
#include "kernels/decode_stream.h"

namespace rft::cuda {
namespace {

using kernels::DecodeLinear;
using kernels::Gate;
using kernels::StreamNorm;

/// Products of so many tokens norm their input themselves.
constexpr int64_t kNormedTokens = 2;

struct LayerView {
  Tensor attention_norm, mlp_norm, q_norm, k_norm;
  Tensor qkv, qkv_bias, out, out_bias, gate_up, gate_up_bias, down, down_bias;
};

Tensor detached(const Tensor& x) { return x.defined() ? x.detach() : x; }
const void* data(const Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

class Fused : public DecodeForward {
 public:
  Fused(const Decoder& decoder, int64_t tokens) : decoder_(decoder), c_(decoder.config()), most_(tokens) {
    const DecoderWeights& w = decoder.weights();
    const at::Device device = w.token_embedding.device();
    inv_freq_ = inverse_frequencies(c_.rotary, device), local_inv_freq_ = inverse_frequencies(c_.local_rotary, device);
    for (const DecoderLayer& l : w.layers)
      layers_.push_back({norm_weight(l.attention_norm, c_), norm_weight(l.mlp_norm, c_), norm_weight(l.q_norm, c_),
                         norm_weight(l.k_norm, c_), detached(l.qkv.weight), detached(l.qkv.bias),
                         detached(l.out.weight), detached(l.out.bias), detached(l.gate_up.weight),
                         detached(l.gate_up.bias), detached(l.down.weight), detached(l.down.bias)});
    final_norm_ = norm_weight(w.final_norm, c_);
    embedding_scale_ = at::scalar_tensor(c_.embedding_scale, at::kBFloat16).item<float>();
    gate_ = c_.activation == "silu" ? Gate::silu : c_.activation == "gelu_new" ? Gate::gelu_tanh : Gate::gelu_erf;
    out_slices_ = kernels::decode_slices(static_cast<int>(c_.hidden_size), static_cast<int>(c_.heads * c_.head_dim));
    down_slices_ = kernels::decode_slices(static_cast<int>(c_.hidden_size), static_cast<int>(c_.intermediate_size));
    const auto narrow = w.token_embedding.options().requires_grad(false), wide = narrow.dtype(at::kFloat);
    const int64_t S = tokens, D = c_.hidden_size;
    streams_[0] = at::empty({S, D}, wide), streams_[1] = at::empty({S, D}, wide);
    normed_ = at::empty({S, D}, narrow), mixed_ = at::zeros({S, c_.heads * c_.head_dim}, narrow);
    gated_ = at::empty({S, c_.intermediate_size}, narrow);
    qkv_ = at::empty({S, (c_.heads + 2 * c_.kv_heads) * c_.head_dim}, wide);
    out_parts_ = at::empty({out_slices_, S, D}, wide), down_parts_ = at::empty({down_slices_, S, D}, wide);
    logits_ = at::empty({S, w.head.size(0)}, wide);
  }

  Tensor logits(const TokenBatch& batch, const Tensor& pages, const Tensor& outputs) override {
    TORCH_CHECK(!outputs.defined() && batch.ids.numel() <= most_, "[decode] the fused pass takes one token a row");
    tokens_ = batch.ids.numel();
    if (!arrived_.defined() || splits_ != batch.splits) {
      splits_ = batch.splits;
      std::tie(parts_, arrived_) = attention_buffers(decoder_, most_, splits_);
    }
    check(kernels::decode_embed(data(decoder_.weights().token_embedding), batch.ids.const_data_ptr<int>(),
                                batch.positions.const_data_ptr<int>(), embedding_scale_, static_cast<int>(tokens_),
                                static_cast<int>(c_.hidden_size), streams_[0].data_ptr<float>(), stream()),
          "decode_embed");
    for (size_t i = 0; i < layers_.size(); ++i) layer(i, batch, pages);
    const Tensor& head = decoder_.weights().head;
    product(head, {}, {}, norm(final_norm_, 0, down_parts_, down_slices_, false), logits_, 1, Gate::none);
    return logits_.narrow(0, 0, tokens_);
  }

 private:
  void layer(size_t i, const TokenBatch& batch, const Tensor& pages) {
    const LayerView& v = layers_[i];
    product(v.qkv, v.qkv_bias, {}, norm(v.attention_norm, 0, down_parts_, i ? down_slices_ : 0, true), qkv_, 1,
            Gate::none);
    const bool local = c_.kinds[i].local_rope;
    run_attention(
        attention_of(decoder_, static_cast<int64_t>(i), v.q_norm, v.k_norm, local ? local_inv_freq_ : inv_freq_), batch,
        pages, qkv_, mixed_, parts_, arrived_);
    product(v.out, v.out_bias, mixed_, {}, out_parts_, out_slices_, Gate::none);
    product(v.gate_up, v.gate_up_bias, {}, norm(v.mlp_norm, 1, out_parts_, out_slices_, true), gated_, 1, gate_);
    product(v.down, v.down_bias, gated_, {}, down_parts_, down_slices_, Gate::none);
  }

  /// The norm of stream `from` and the parts; their sum goes to the other stream.
  StreamNorm norm(const Tensor& weight, int from, const Tensor& parts, int64_t count, bool keep_sum) const {
    StreamNorm n;
    n.stream = streams_[from].const_data_ptr<float>(), n.parts = data(parts), n.count = static_cast<int>(count);
    n.weight = data(weight), n.eps = static_cast<float>(c_.norm_eps);
    if (keep_sum) n.sum = streams_[1 - from].data_ptr<float>();
    return n;
  }

  /// y = x W^T of x, or of the normed stream where `x` is undefined.
  void product(const Tensor& weight, const Tensor& bias, const Tensor& x, const StreamNorm& norm, const Tensor& y,
               int64_t slices, Gate gate) {
    DecodeLinear a;
    a.weight = data(weight), a.bias = data(bias), a.x = data(x), a.y = y.data_ptr();
    a.tokens = static_cast<int>(tokens_), a.rows = static_cast<int>(weight.size(0));
    a.inner = static_cast<int>(weight.size(1)), a.slices = static_cast<int>(slices), a.gate = gate;
    if (norm.stream && tokens_ > kNormedTokens) {
      check(kernels::decode_norm(norm, a.tokens, a.inner, normed_.data_ptr(), stream()), "decode_norm");
      a.x = data(normed_);
    } else {
      a.norm = norm;
    }
    check(kernels::decode_linear(a, stream()), "decode_linear");
  }

  const Decoder& decoder_;
  const DecoderConfig& c_;
  int64_t most_, tokens_ = 0, splits_ = 0, out_slices_, down_slices_;
  float embedding_scale_ = 1;
  Gate gate_;
  Tensor inv_freq_, local_inv_freq_, final_norm_;
  std::vector<LayerView> layers_;
  Tensor streams_[2], normed_, mixed_, gated_, qkv_, out_parts_, down_parts_, logits_, parts_, arrived_;
};

bool fits(const Linear& linear) {
  return linear.adapters.empty() && linear.weight.is_contiguous() && linear.weight.size(1) % 8 == 0;
}

bool fits(const Decoder& decoder) {
  const DecoderConfig& c = decoder.config();
  const DecoderWeights& w = decoder.weights();
  if (w.token_embedding.scalar_type() != at::kBFloat16 || !c.rms_norm || !c.pre_norm || c.post_norm || !c.rope ||
      !c.gated_mlp || c.qk_norm_all || c.experts.count || c.hidden_size > kernels::kSliceColumns ||
      c.activation == "relu")
    return false;
  return std::all_of(w.layers.begin(), w.layers.end(), [](const DecoderLayer& l) {
    return fits(l.qkv) && fits(l.out) && fits(l.gate_up) && fits(l.down);
  });
}

}  // namespace

std::unique_ptr<DecodeForward> fused_forward(const Decoder& decoder, int64_t tokens) {
  if (!fits(decoder)) return nullptr;
  return std::make_unique<Fused>(decoder, tokens);
}

}  // namespace rft::cuda
