// The forward pass of any decoder: products and norms through ATen.
#include <ATen/ATen.h>

#include "cuda/decode_forward.h"
#include "cuda/runtime.h"
#include "kernels/decode_stream.h"
#include "nn/decoder_experts.h"

namespace rft::cuda {
namespace {

/// x W^T + b with adapters; DoRA's gains are computed once.
struct LinearView {
  Tensor weight, bias, gains;
  std::vector<Adapter> adapters;

  explicit LinearView(const Linear& linear) {
    if (!linear.weight.defined()) return;
    weight = linear.weight.detach();
    if (linear.bias.defined()) bias = linear.bias.detach();
    gains = column_gains(linear);
    for (const Adapter& a : linear.adapters) {
      adapters.push_back(a);
      adapters.back().a = a.a.detach(), adapters.back().b = a.b.detach();
    }
  }
  Tensor operator()(const Tensor& x) const {
    Tensor y = at::linear(x, weight, gains.defined() ? Tensor() : bias);
    for (const Adapter& adapter : adapters)
      y.narrow(1, adapter.first, adapter.rows).add_(at::linear(at::linear(x, adapter.a), adapter.b), adapter.scale);
    if (!gains.defined()) return y;
    y.mul_(gains);
    return bias.defined() ? y.add_(bias) : y;
  }
};

struct LayerView {
  Tensor attention_norm, mlp_norm, attention_post_norm, mlp_post_norm, q_norm, k_norm;
  LinearView qkv, out, gate_up, down;
};

class General : public DecodeForward {
 public:
  explicit General(const Decoder& decoder) : decoder_(decoder), c_(decoder.config()) {
    const at::Device device = decoder.weights().token_embedding.device();
    inv_freq_ = inverse_frequencies(c_.rotary, device), local_inv_freq_ = inverse_frequencies(c_.local_rotary, device);
    for (const DecoderLayer& l : decoder.weights().layers)
      layers_.push_back({norm_weight(l.attention_norm, c_), norm_weight(l.mlp_norm, c_),
                         norm_weight(l.attention_post_norm, c_), norm_weight(l.mlp_post_norm, c_),
                         norm_weight(l.q_norm, c_), norm_weight(l.k_norm, c_), LinearView(l.qkv), LinearView(l.out),
                         LinearView(l.gate_up), LinearView(l.down)});
    final_norm_ = norm_weight(decoder.weights().final_norm, c_);
  }

  bool capturable() const override { return c_.experts.count == 0; }

  Tensor logits(const TokenBatch& batch, const Tensor& pages, const Tensor& outputs) override {
    Stream stream{embedded(batch), {}};
    auto [parts, arrived] = attention_buffers(decoder_, batch.ids.numel(), batch.splits);
    for (size_t i = 0; i < layers_.size(); ++i) {
      const DecoderLayer& layer = decoder_.weights().layers[i];
      const LayerView& view = layers_[i];
      Tensor heads = head_norms(view, view.qkv(normed(stream, view.attention_norm, layer.attention_norm))).contiguous();
      Tensor mixed = at::empty({heads.size(0), c_.heads * c_.head_dim}, heads.options());
      run_attention(attention(static_cast<int64_t>(i)), batch, pages, heads, mixed, parts, arrived);
      stream.added = normed_after(view.out(mixed), view.attention_post_norm, layer.attention_post_norm);
      Tensor out = mlp(layer, view, normed(stream, view.mlp_norm, layer.mlp_norm));
      stream.added = normed_after(out, view.mlp_post_norm, layer.mlp_post_norm);
    }
    if (outputs.defined()) {
      stream.x = stream.x.index_select(0, outputs);
      stream.added = stream.added.index_select(0, outputs);
    }
    return head(normed(stream, final_norm_, decoder_.weights().final_norm));
  }

 private:
  at::ScalarType type() const { return decoder_.weights().token_embedding.scalar_type(); }

  Tensor embedded(const TokenBatch& batch) const {
    const DecoderWeights& w = decoder_.weights();
    Tensor x = at::embedding(w.token_embedding.detach(), batch.ids);
    if (c_.embedding_scale != 1) x = x.mul(c_.embedding_scale);
    x = x.to(at::kFloat);
    if (!w.position_embedding.defined()) return x;
    return x.add(at::embedding(w.position_embedding.detach(), batch.positions.clamp_min(0)));
  }

  /// The residual stream, float32, and what is still to be added to it, in the weights' type; [N, D].
  struct Stream {
    Tensor x, added;
  };

  /// The stream in the weights' type; in one kernel where it is an RMSNorm in bfloat16.
  Tensor normed(Stream& stream, const Tensor& weight, const Norm& norm) const {
    if (type() != at::kBFloat16 || !c_.rms_norm || !weight.defined() || c_.hidden_size % 8) {
      if (stream.added.defined()) stream.x = stream.x.add(stream.added), stream.added.reset();
      return normed(stream.x, weight, norm);
    }
    Tensor y = at::empty_like(stream.x, weight.options()), sum = at::empty_like(stream.x);
    kernels::StreamNorm n;
    n.stream = stream.x.const_data_ptr<float>(), n.weight = weight.const_data_ptr();
    n.eps = static_cast<float>(c_.norm_eps), n.sum = sum.data_ptr<float>(), n.parts_bf16 = true;
    if (stream.added.defined()) n.parts = stream.added.const_data_ptr(), n.count = 1;
    check(
        kernels::decode_norm(n, static_cast<int>(y.size(0)), static_cast<int>(y.size(1)), y.data_ptr(), cuda::stream()),
        "decode_norm");
    stream = Stream{sum, Tensor()};
    return y;
  }
  /// x [N, D] float32, in the weights' type.
  Tensor normed(const Tensor& x, const Tensor& weight, const Norm& norm) const {
    if (!weight.defined()) return x.to(type());
    if (!c_.rms_norm)
      return at::layer_norm(x, {x.size(-1)}, weight.to(at::kFloat), norm.bias.detach().to(at::kFloat), c_.norm_eps)
          .to(type());
    return x.mul(x.square().mean(-1, true).add(c_.norm_eps).rsqrt()).to(type()).mul(weight);
  }
  Tensor normed_after(const Tensor& x, const Tensor& weight, const Norm& norm) const {
    return weight.defined() ? normed(x.to(at::kFloat), weight, norm) : x;
  }

  /// q and k normed over all their heads, where the model does that; attention itself norms each head.
  Tensor head_norms(const LayerView& view, const Tensor& qkv) const {
    if (!view.q_norm.defined() || !c_.qk_norm_all) return qkv;
    const int64_t q = c_.heads * c_.head_dim, k = c_.kv_heads * c_.head_dim;
    auto parts = qkv.split_with_sizes({q, k, k}, 1);
    return at::cat(
        {normed(parts[0].to(at::kFloat), view.q_norm, {}), normed(parts[1].to(at::kFloat), view.k_norm, {}), parts[2]},
        1);
  }

  kernels::DecodeAttention attention(int64_t layer) const {
    const LayerView& view = layers_[static_cast<size_t>(layer)];
    const bool local = c_.kinds[static_cast<size_t>(layer)].local_rope;
    return attention_of(decoder_, layer, c_.qk_norm_all ? Tensor() : view.q_norm,
                        c_.qk_norm_all ? Tensor() : view.k_norm, local ? local_inv_freq_ : inv_freq_);
  }

  Tensor mlp(const DecoderLayer& layer, const LayerView& view, const Tensor& x) const {
    if (!layer.experts.empty()) return mixture(layer, x, router_probabilities(layer, x), c_, true);
    Tensor wide = view.gate_up(x);
    return view.down(c_.gated_mlp ? gated(wide, c_.activation) : activated(wide, c_.activation));
  }

  Tensor head(const Tensor& x) const {
    Tensor weight = decoder_.weights().head.detach();
    if (x.scalar_type() == at::kFloat) return at::linear(x, weight);
    if (x.is_cuda()) return at::mm(x, weight.t(), at::kFloat);
    return at::linear(x.to(at::kFloat), weight.to(at::kFloat));
  }

  const Decoder& decoder_;
  const DecoderConfig& c_;
  Tensor inv_freq_, local_inv_freq_, final_norm_;
  std::vector<LayerView> layers_;
};

}  // namespace

std::unique_ptr<DecodeForward> general_forward(const Decoder& decoder) { return std::make_unique<General>(decoder); }

}  // namespace rft::cuda
