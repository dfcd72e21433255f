#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "rft/core/error.h"
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
  Tensor cos, sin;   ///< [N, head_dim / 2], where rope
};

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
  if (config.rope) {
    // In float32 for half-precision weights too, as transformers does it.
    auto wide = options.dtype() == at::kDouble ? at::kDouble : at::kFloat;
    auto angles = out.positions.to(wide).unsqueeze(1).mul(at::tensor(config.rope_inv_freq, at::kDouble).to(wide));
    out.cos = angles.cos().to(options.dtype()), out.sin = angles.sin().to(options.dtype());
  }
  return out;
}

Tensor apply(const Norm& norm, const Tensor& x, bool rms, double eps) {
  return rms ? ops::rms_norm(x, norm.weight, eps) : at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, eps);
}

/// heads [N, H + 2 K, hd] holds q, then k, then v; gives [N, H * hd]. Rows are padded on the right: under the causal
/// mask no token sees the padding behind it, so the valid ones are exact.
Tensor attend(const Tensor& heads, const DecoderConfig& config, const RowLayout& layout) {
  auto cells = layout.ragged ? ops::gather_rows(heads, layout.padded, layout.packed) : heads;
  auto rows = cells.view({layout.rows, layout.longest, heads.size(1), heads.size(2)}).transpose(1, 2);
  auto parts = rows.split_with_sizes({config.heads, config.kv_heads, config.kv_heads}, 1);
  bool grouped = config.heads != config.kv_heads;
  auto out = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0.0, /*is_causal=*/true, {}, grouped);
  auto joined = out.transpose(1, 2).reshape({layout.rows * layout.longest, config.heads * config.head_dim});
  return layout.ragged ? ops::gather_rows(joined, layout.packed, layout.owner) : joined;
}

Tensor activated(const Tensor& x, const std::string& kind) {
  if (kind == "silu") return at::silu(x);
  if (kind == "relu") return at::relu(x);
  return at::gelu(x, kind == "gelu_new" ? "tanh" : "none");
}

class LayerForward {
 public:
  LayerForward(const DecoderConfig& config, const RowLayout& layout, bool adapters)
      : c_(config), layout_(layout), adapters_(adapters) {}

  Tensor operator()(const DecoderLayer& layer, const Tensor& x) const {
    auto h = x.add(attention(layer, apply(layer.attention_norm, x, c_.rms_norm, c_.norm_eps)));
    return h.add(mlp(layer, apply(layer.mlp_norm, h, c_.rms_norm, c_.norm_eps)));
  }

 private:
  Tensor attention(const DecoderLayer& layer, const Tensor& x) const {
    auto heads = apply(layer.qkv, x, adapters_).view({x.size(0), c_.heads + 2 * c_.kv_heads, c_.head_dim});
    if (c_.qk_norm) {
      auto parts = heads.split_with_sizes({c_.heads, c_.kv_heads, c_.kv_heads}, 1);
      heads = at::cat({apply(layer.q_norm, parts[0], true, c_.norm_eps),
                       apply(layer.k_norm, parts[1], true, c_.norm_eps), parts[2]},
                      1);
    }
    if (c_.rope) heads = ops::rotary(heads, layout_.cos, layout_.sin, c_.heads + c_.kv_heads);
    return apply(layer.out, attend(heads, c_, layout_), adapters_);
  }

  Tensor mlp(const DecoderLayer& layer, const Tensor& x) const {
    auto wide = apply(layer.gate_up, x, adapters_);
    if (!c_.gated_mlp) return apply(layer.down, activated(wide, c_.activation), adapters_);
    if (c_.activation == "silu") return apply(layer.down, ops::swiglu(wide), adapters_);
    auto halves = wide.chunk(2, 1);
    return apply(layer.down, activated(halves[0], c_.activation).mul(halves[1]), adapters_);
  }

  const DecoderConfig& c_;
  const RowLayout& layout_;
  bool adapters_;
};

}  // namespace

Tensor Decoder::forward(const Packed& rows, const Forward& options) const {
  auto layout = std::make_shared<RowLayout>(lay_out(rows, config_, weights_.token_embedding.options()));
  Tensor x = at::embedding(weights_.token_embedding, rows.ids);
  if (!config_.rope) x = x.add(at::embedding(weights_.position_embedding, layout->positions));
  for (const DecoderLayer& layer : weights_.layers) {
    // The recomputation runs in the backward pass, when `layout` here is gone: it keeps its own share of it.
    auto run = [this, layout, &layer, adapters = options.adapters](const Tensor& in) {
      return LayerForward(config_, *layout, adapters)(layer, in);
    };
    x = options.checkpoint && at::GradMode::is_enabled() ? recompute_in_backward(run, x) : run(x);
  }
  return apply(weights_.final_norm, x, config_.rms_norm, config_.norm_eps);
}

}  // namespace rft
