#include "policy/decode_model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

namespace rft {
namespace {

void grow(std::vector<float>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
}

/// Row `id` of a [V, D] table as float32.
void read_row(const ops::MatrixView& table, int64_t id, float* out) {
  if (!table.bfloat16) {
    const float* row = static_cast<const float*>(table.data) + id * table.in;
    std::copy(row, row + table.in, out);
    return;
  }
  const auto* row = static_cast<const at::BFloat16*>(table.data) + id * table.in;
  for (int64_t i = 0; i < table.in; ++i) out[i] = static_cast<float>(row[i]);
}

}  // namespace

void DecodeBatch::clear() {
  ids.clear(), positions.clear(), pages.clear(), slots.clear(), tiles.clear(), outputs.clear();
}

DecodeModel::DecodeModel(const Decoder& decoder)
    : config_(decoder.config()),
      layout_{config_.layers, config_.kv_heads, config_.head_dim},
      activation_(ops::activation_of(config_.activation)) {
  const DecoderWeights& weights = decoder.weights();
  embedding_ = matrix(weights.token_embedding);
  head_ = weights.head.is_same(weights.token_embedding) ? embedding_ : matrix(weights.head);
  if (weights.position_embedding.defined()) {
    positions_ = weights.position_embedding.detach().to(at::kFloat).contiguous();
  }
  for (const DecoderLayer& layer : weights.layers) {
    layers_.push_back({norm(layer.attention_norm), norm(layer.mlp_norm), norm(layer.q_norm), norm(layer.k_norm),
                       linear(layer.qkv), linear(layer.out), linear(layer.gate_up), linear(layer.down)});
  }
  final_norm_ = norm(weights.final_norm);
}

ops::MatrixView DecodeModel::matrix(const Tensor& weight) {
  const bool direct = weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kBFloat16;
  Tensor usable = weight.detach();
  if (!direct || !usable.is_contiguous()) {
    usable = (direct ? usable : usable.to(at::kFloat)).contiguous();
    owned_.push_back(usable);
  }
  return ops::MatrixView::of(usable);
}

DecodeModel::Vector DecodeModel::vector(const Tensor& values) {
  if (!values.defined()) return {};
  owned_.push_back(values.detach().to(at::kFloat).contiguous());
  return {owned_.back().const_data_ptr<float>()};
}

DecodeModel::NormView DecodeModel::norm(const Norm& norm) { return {vector(norm.weight), vector(norm.bias)}; }

DecodeModel::LinearView DecodeModel::linear(const Linear& linear) {
  LinearView view{matrix(linear.weight), vector(linear.bias), {}};
  for (const Adapter& adapter : linear.adapters) {
    view.adapters.push_back({matrix(adapter.a), matrix(adapter.b), adapter.first, static_cast<float>(adapter.scale)});
  }
  return view;
}

void DecodeModel::embed(const DecodeBatch& batch) {
  const int64_t dim = config_.hidden_size;
  grow(hidden_, batch.tokens() * dim);
  for (int64_t n = 0; n < batch.tokens(); ++n) {
    float* row = hidden_.data() + n * dim;
    read_row(embedding_, batch.ids[static_cast<size_t>(n)], row);
    if (!positions_.defined()) continue;
    const float* position = positions_.const_data_ptr<float>() + batch.positions[static_cast<size_t>(n)] * dim;
    for (int64_t d = 0; d < dim; ++d) row[d] += position[d];
  }
}

void DecodeModel::extend_rotary(int64_t positions) {
  const auto half = static_cast<int64_t>(config_.rope_inv_freq.size());
  if (!config_.rope || static_cast<int64_t>(cos_.size()) >= positions * half) return;
  for (auto position = static_cast<int64_t>(cos_.size()) / half; position < positions; ++position) {
    for (double inv_freq : config_.rope_inv_freq) {
      // The product is rounded to float32, as in training and in transformers: at far positions that moves the angle.
      const float angle = static_cast<float>(inv_freq) * static_cast<float>(position);
      cos_.push_back(static_cast<float>(std::cos(double{angle})));
      sin_.push_back(static_cast<float>(std::sin(double{angle})));
    }
  }
}

void DecodeModel::normalise(const NormView& norm, const float* x, int64_t rows, float* y) const {
  ops::decode_norm(x, rows, config_.hidden_size, norm.weight.data, norm.bias.data, config_.norm_eps, y);
}

void DecodeModel::apply(const LinearView& linear, const float* x, int64_t rows, float* y, bool add) {
  const int64_t in = linear.weight.in, out = linear.weight.out;
  ops::decode_linear(x, in, rows, linear.weight, linear.bias.data, y, out, add);
  for (const AdapterView& adapter : linear.adapters) {
    const int64_t rank = adapter.a.out;
    grow(low_rank_, rows * rank);
    ops::decode_linear(x, in, rows, adapter.a, nullptr, low_rank_.data(), rank);
    for (int64_t i = 0; i < rows * rank; ++i) low_rank_[static_cast<size_t>(i)] *= adapter.scale;
    ops::decode_linear(low_rank_.data(), rank, rows, adapter.b, nullptr, y + adapter.first, out, true);
  }
}

/// Normalises and rotates q and k in place, and stores k and v.
void DecodeModel::place_heads(const LayerView& layer, int64_t index, const DecodeBatch& batch) {
  const int64_t dim = config_.head_dim, q_width = config_.heads * dim, kv_width = config_.kv_heads * dim;
  const int64_t stride = q_width + 2 * kv_width, half = dim / 2;
  at::parallel_for(0, batch.tokens(), std::max<int64_t>(1, 8192 / stride), [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      float *q = qkv_.data() + n * stride, *k = q + q_width, *v = k + kv_width;
      if (config_.qk_norm) {
        ops::decode_norm(q, config_.heads, dim, layer.q_norm.weight.data, nullptr, config_.norm_eps, q);
        ops::decode_norm(k, config_.kv_heads, dim, layer.k_norm.weight.data, nullptr, config_.norm_eps, k);
      }
      const auto token = static_cast<size_t>(n);
      if (config_.rope) {
        const int64_t row = batch.positions[token] * half;
        ops::rotate_heads(q, config_.heads, dim, cos_.data() + row, sin_.data() + row);
        ops::rotate_heads(k, config_.kv_heads, dim, cos_.data() + row, sin_.data() + row);
      }
      ops::store_kv(layout_, batch.pages[token], index, batch.slots[token], k, v);
    }
  });
}

void DecodeModel::attention(const LayerView& layer, int64_t index, const DecodeBatch& batch) {
  const int64_t rows = batch.tokens(), q_width = config_.heads * config_.head_dim;
  const int64_t stride = layer.qkv.weight.out;
  normalise(layer.attention_norm, hidden_.data(), rows, normed_.data());
  grow(qkv_, rows * stride);
  apply(layer.qkv, normed_.data(), rows, qkv_.data(), false);
  place_heads(layer, index, batch);
  grow(mixed_, rows * q_width);
  ops::decode_attention(layout_, index, batch.tiles, qkv_.data(), stride, config_.heads, mixed_.data());
  apply(layer.out, mixed_.data(), rows, hidden_.data(), true);
}

void DecodeModel::mlp(const LayerView& layer, int64_t rows) {
  const int64_t width = layer.down.weight.in;
  normalise(layer.mlp_norm, hidden_.data(), rows, normed_.data());
  grow(wide_, rows * layer.gate_up.weight.out);
  apply(layer.gate_up, normed_.data(), rows, wide_.data(), false);
  if (config_.gated_mlp) {
    grow(gated_, rows * width);
    ops::decode_gated_activation(activation_, wide_.data(), rows, width, gated_.data());
  } else {
    ops::decode_activation(activation_, wide_.data(), rows, width);
  }
  apply(layer.down, config_.gated_mlp ? gated_.data() : wide_.data(), rows, hidden_.data(), true);
}

const float* DecodeModel::forward(const DecodeBatch& batch) {
  const int64_t rows = batch.tokens(), dim = config_.hidden_size;
  const auto outputs = static_cast<int64_t>(batch.outputs.size());
  extend_rotary(1 + *std::max_element(batch.positions.begin(), batch.positions.end()));
  embed(batch);
  grow(normed_, rows * dim);
  for (size_t i = 0; i < layers_.size(); ++i) {
    attention(layers_[i], static_cast<int64_t>(i), batch);
    mlp(layers_[i], rows);
  }
  if (outputs == 0) return nullptr;
  for (int64_t i = 0; i < outputs; ++i) {
    normalise(final_norm_, hidden_.data() + batch.outputs[static_cast<size_t>(i)] * dim, 1, normed_.data() + i * dim);
  }
  grow(logits_, outputs * vocab());
  ops::decode_linear(normed_.data(), dim, outputs, head_, nullptr, logits_.data(), vocab());
  return logits_.data();
}

}  // namespace rft
