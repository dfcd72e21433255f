#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>

#include "nn/decoder_experts.h"
#include "nn/packed_attention.h"
#include "rft/core/error.h"
#include "rft/dist/exchange.h"
#include "rft/dist/tensor_sums.h"
#include "rft/nn/decoder.h"
#include "rft/nn/recompute.h"
#include "rft/ops/gather_rows.h"
#include "rft/ops/linear.h"
#include "rft/ops/rms_norm.h"
#include "rft/ops/rotary.h"
#include "rft/ops/swiglu.h"

namespace rft {
namespace {

/// What every layer needs to know of the rows. B rows, T the longest, N tokens in all.
struct RowLayout {
  int64_t rows = 0, longest = 0;
  bool ragged = false;
  Tensor padded;     ///< [B * T] int64: the packed token of each cell; padding repeats the row's last one
  Tensor owner;      ///< [B * T] int64: the same, but -1 for padding
  Tensor packed;     ///< [N] int64: the cell of each packed token
  Tensor positions;  ///< [N] int64
  struct Angles {
    Tensor cos, sin;  ///< [N, turning numbers of a head / 2]
  };
  Angles angles, local_angles;        ///< where rope
  PackedRows ends;                    ///< on a GPU
  std::map<int64_t, Tensor> visible;  ///< [T, T] bool by window, where SDPA's causal mask is not enough
};

RowLayout::Angles angles_of(const Rotary& rotary, const Tensor& positions, const at::TensorOptions& options) {
  if (rotary.inv_freq.empty()) return {};
  // In float32 for half-precision weights too, as transformers does it.
  auto wide = options.dtype() == at::kDouble ? at::kDouble : at::kFloat;
  auto inv_freq = at::tensor(rotary.inv_freq, at::kDouble).to(positions.device(), wide);
  auto angles = positions.to(wide).unsqueeze(1).mul(inv_freq);
  return {angles.cos().mul(rotary.scale).to(options.dtype()), angles.sin().mul(rotary.scale).to(options.dtype())};
}

/// [T, T] bool: which positions a token sees; `window` 0: all up to itself.
Tensor visible_positions(int64_t T, int64_t window, const at::Device& device) {
  auto all = at::ones({T, T}, at::TensorOptions().dtype(at::kBool).device(device)).tril();
  return window ? all.triu(1 - window) : all;
}

RowLayout lay_out(const Packed& rows, const DecoderConfig& config, const at::TensorOptions& options) {
  RowLayout out;
  out.rows = static_cast<int64_t>(rows.lengths.size());
  for (int64_t length : rows.lengths) {
    TORCH_CHECK(length > 0, "[Decoder] a row must have at least one token; got ", length);
    out.longest = std::max(out.longest, length);
  }
  int64_t N = rows.ids.numel(), T = out.longest;
  out.positions = at::empty({N}, at::kLong), out.packed = at::empty({N}, at::kLong),
  out.padded = at::empty({out.rows * T}, at::kLong);
  out.owner = at::empty({out.rows * T}, at::kLong);
  int64_t* owner = out.owner.data_ptr<int64_t>();
  int64_t *position = out.positions.data_ptr<int64_t>(), *packed = out.packed.data_ptr<int64_t>(),
          *padded = out.padded.data_ptr<int64_t>();
  int64_t start = 0;
  for (int64_t b = 0; b < out.rows; start += rows.lengths[b++]) {
    int64_t length = rows.lengths[b];
    out.ragged |= length != T;
    for (int64_t t = 0; t < T; ++t) {
      padded[b * T + t] = start + std::min(t, length - 1);
      owner[b * T + t] = t < length ? start + t : -1;
    }
    for (int64_t t = 0; t < length; ++t) position[start + t] = t, packed[start + t] = b * T + t;
  }
  TORCH_CHECK(start == N, "[Decoder] the rows' lengths must sum to the number of tokens");
  if (T > config.max_positions)
    run_failed("Decoder", "the longest row has ", T, " tokens; the model takes at most ", config.max_positions);
  const at::Device device = options.device();
  if (!device.is_cpu()) {
    std::vector<int> starts{0};
    for (int64_t length : rows.lengths) starts.push_back(starts.back() + static_cast<int>(length));
    out.ends = {at::tensor(starts, at::kInt).to(device), T};
    for (Tensor* index : {&out.positions, &out.packed, &out.padded, &out.owner}) *index = index->to(device);
  }
  out.angles = angles_of(config.rotary, out.positions, options);
  out.local_angles = angles_of(config.local_rotary, out.positions, options);
  for (const LayerKind& kind : config.kinds) {
    int64_t window = kind.window < T ? kind.window : 0;
    bool masked = window || config.attention_softcap > 0;
    if (masked && !out.visible.count(window)) out.visible[window] = visible_positions(T, window, device);
  }
  return out;
}

/// x itself where the model has no such norm.
Tensor apply(const Norm& norm, const Tensor& x, const DecoderConfig& config) {
  if (!norm.weight.defined()) return x;
  if (!config.rms_norm) return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, config.norm_eps);
  return ops::rms_norm(x, config.norm_plus_one ? norm.weight.add(1) : norm.weight, config.norm_eps);
}

/// softmax(cap tanh(q k scale / cap)) v, which no fused attention computes; [B, H, T, hd].
Tensor softcapped_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, double cap,
                            const Tensor& visible) {
  int64_t share = q.size(1) / k.size(1);
  auto keys = share > 1 ? k.repeat_interleave(share, 1) : k, values = share > 1 ? v.repeat_interleave(share, 1) : v;
  auto scores = q.matmul(keys.transpose(2, 3)).mul(scale / cap).tanh().mul(cap);
  return scores.masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity()).softmax(-1).matmul(values);
}

/// heads [N, H + 2 K, hd] holds q, then k, then v; gives [N, H * hd]. Rows are padded on the right: under the causal
/// mask no token sees the padding behind it, so the valid ones are exact.
Tensor attended_heads(const Tensor& heads, const DecoderConfig& config, const LayerKind& kind,
                      const RowLayout& layout) {
  if (config.attention_softcap <= 0 && can_attend_packed(heads))
    return packed_attention(heads, layout.ends, {config.heads, config.kv_heads, config.attention_scale, kind.window});
  auto cells = layout.ragged ? ops::gather_rows(heads, layout.padded, layout.packed) : heads;
  auto rows = cells.view({layout.rows, layout.longest, heads.size(1), heads.size(2)}).transpose(1, 2);
  auto parts = rows.split_with_sizes({config.heads, config.kv_heads, config.kv_heads}, 1);
  bool grouped = config.heads != config.kv_heads;
  std::optional<double> scale;
  if (config.attention_scale > 0) scale = config.attention_scale;
  auto seen = layout.visible.find(kind.window < layout.longest ? kind.window : 0);
  bool causal = seen == layout.visible.end();
  std::optional<Tensor> mask;
  if (!causal) mask = seen->second;
  Tensor out;
  if (config.attention_softcap > 0)
    out = softcapped_attention(parts[0], parts[1], parts[2],
                               scale.value_or(1 / std::sqrt(static_cast<double>(config.head_dim))),
                               config.attention_softcap, seen->second);
  else
    out = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], mask, 0.0, causal, scale, grouped);
  auto joined = out.transpose(1, 2).reshape({layout.rows * layout.longest, config.heads * config.head_dim});
  return layout.ragged ? ops::gather_rows(joined, layout.packed, layout.owner) : joined;
}

/// In the first `count` heads of x [N, heads, hd] the numbers that turn are turned.
Tensor turned(const Tensor& x, const RowLayout::Angles& angles, int64_t count) {
  int64_t turning = 2 * angles.cos.size(1);
  if (turning == x.size(2)) return ops::rotary(x, angles.cos, angles.sin, count);
  auto first = ops::rotary(x.narrow(2, 0, turning).contiguous(), angles.cos, angles.sin, count);
  return at::cat({first, x.narrow(2, turning, x.size(2) - turning)}, 2);
}

class LayerForward {
 public:
  /// `group`: who has the other parts of the layer; may be null.
  LayerForward(const DecoderConfig& config, const LayerKind& kind, const RowLayout& layout, bool adapters,
               Communicator* group)
      : c_(config), kind_(kind), layout_(layout), adapters_(adapters), group_(group) {}

  /// The stream behind the attention.
  Tensor attended(const DecoderLayer& layer, const Tensor& x) const {
    return x.add(apply(layer.attention_post_norm, attention(layer, apply(layer.attention_norm, x, c_)), c_));
  }
  /// The stream behind the MLP, or the experts that `routing` [N, experts] chooses.
  Tensor finished(const DecoderLayer& layer, const Tensor& h, const Tensor& routing) const {
    Tensor in = apply(layer.mlp_norm, h, c_);
    Tensor out = routing.defined() ? mixture(layer, in, routing, c_, adapters_) : mlp(layer, in);
    return h.add(apply(layer.mlp_post_norm, out, c_));
  }
  Tensor routing(const DecoderLayer& layer, const Tensor& h) const {
    return router_probabilities(layer, apply(layer.mlp_norm, h, c_));
  }

 private:
  Tensor attention(const DecoderLayer& layer, const Tensor& x) const {
    auto heads = normed(layer, apply(layer.qkv, into_parts(x, group_), adapters_))
                     .view({x.size(0), c_.heads + 2 * c_.kv_heads, c_.head_dim});
    if (c_.rope && kind_.rope)
      heads = turned(heads, kind_.local_rope ? layout_.local_angles : layout_.angles, c_.heads + c_.kv_heads);
    return last_product(layer.out, attended_heads(heads, c_, kind_, layout_));
  }

  /// Of a divided block: this process's columns of the weight, then the others' products, then what is added once.
  Tensor last_product(const Linear& linear, const Tensor& x) const {
    if (!group_) return apply(linear, x, adapters_);
    Tensor sum = sum_of_parts(apply(Linear{linear.weight, {}, linear.adapters, linear.scale}, x, adapters_), group_);
    return linear.bias.defined() ? sum.add(linear.bias) : sum;
  }

  /// qkv [N, (H + 2 K) hd], with q and k normed where the model does.
  Tensor normed(const DecoderLayer& layer, const Tensor& qkv) const {
    if (!layer.q_norm.weight.defined()) return qkv;
    auto parts =
        qkv.split_with_sizes({c_.heads * c_.head_dim, c_.kv_heads * c_.head_dim, c_.kv_heads * c_.head_dim}, 1);
    auto norm = [&](const Norm& norm, const Tensor& x) {
      Norm shared{into_parts(norm.weight, group_), norm.bias};  // by the heads of all processes
      return apply(shared, c_.qk_norm_all ? x : x.reshape({x.size(0), -1, c_.head_dim}), c_).view(x.sizes());
    };
    return at::cat({norm(layer.q_norm, parts[0]), norm(layer.k_norm, parts[1]), parts[2]}, 1);
  }

  Tensor mlp(const DecoderLayer& layer, const Tensor& x) const {
    auto wide = apply(layer.gate_up, into_parts(x, group_), adapters_);
    return last_product(layer.down, c_.gated_mlp ? gated(wide, c_.activation) : activated(wide, c_.activation));
  }

  const DecoderConfig& c_;
  const LayerKind& kind_;
  const RowLayout& layout_;
  bool adapters_;
  Communicator* group_;
};

/// body(inputs), kept or computed again in the backward pass.
Tensor kept_or_recomputed(BodyOfMany body, const std::vector<Tensor>& inputs, bool checkpoint) {
  return checkpoint && at::GradMode::is_enabled() ? recompute_in_backward(std::move(body), inputs) : body(inputs);
}

}  // namespace

Tensor Decoder::forward(const Packed& rows, const Forward& options) const { return run(rows, options, nullptr); }

Decoder::Balanced Decoder::forward_balanced(const Packed& rows, const Forward& options) const {
  ExpertUse use;
  Tensor hidden = run(rows, options, &use);
  return {hidden, use.balance()};
}

Tensor Decoder::run(const Packed& rows, const Forward& options, ExpertUse* use) const {
  const DecoderWeights& weights = this->weights(options.adapters);
  auto layout = std::make_shared<RowLayout>(lay_out(rows, config_, weights.token_embedding.options()));
  Tensor x = embedded(weights, rows.ids);
  if (config_.embedding_scale != 1) x = x.mul(at::scalar_tensor(config_.embedding_scale, x.options()));
  if (!config_.rope) x = x.add(at::embedding(weights.position_embedding, layout->positions));
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    // The recomputation runs in the backward pass, when `layout` here is gone: it keeps its own share of it.
    const DecoderLayer& layer = weights.layers[i];
    auto with = [this, layout, i, adapters = options.adapters] {
      return LayerForward(config_, config_.kinds[i], *layout, adapters, group_);
    };
    auto at = static_cast<int64_t>(i);
    x = into_layer(gate_, at, x);
    if (layer.experts.empty()) {
      auto whole = [with, &layer](const std::vector<Tensor>& in) {
        auto forward = with();
        return forward.finished(layer, forward.attended(layer, in[0]), {});
      };
      x = out_of_layer(gate_, at, kept_or_recomputed(whole, {x}, options.checkpoint));
      continue;
    }
    x = kept_or_recomputed([with, &layer](const std::vector<Tensor>& in) { return with().attended(layer, in[0]); }, {x},
                           options.checkpoint);
    Tensor routing = with().routing(layer, x);  // outside the recomputed parts: every choice is made once
    x = kept_or_recomputed(
        [with, &layer](const std::vector<Tensor>& in) { return with().finished(layer, in[0], in[1]); }, {x, routing},
        options.checkpoint);
    auto left = out_of_layer(gate_, at, std::vector<Tensor>{x, routing});
    x = left[0];
    if (use) use->add(left[1], config_.experts.per_token);
  }
  return apply(weights.final_norm, x, config_);
}

}  // namespace rft
