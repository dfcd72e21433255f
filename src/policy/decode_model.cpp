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
  if (table.numbers == ops::MatrixView::Numbers::float32) {
    const float* row = static_cast<const float*>(table.data) + id * table.in;
    std::copy(row, row + table.in, out);
    return;
  }
  const auto* row = static_cast<const at::BFloat16*>(table.data) + id * table.in;
  for (int64_t i = 0; i < table.in; ++i) out[i] = static_cast<float>(row[i]);
}

}  // namespace

void DecodeBatch::clear() {
  ids.clear(), positions.clear(), pages.clear(), slots.clear(), sets.clear(), tiles.clear(), outputs.clear();
}

DecodeModel::DecodeModel(const Decoder& decoder)
    : config_(decoder.config()),
      group_(decoder.group()),
      vocabulary_(decoder.vocabulary()),
      layout_{config_.layers, config_.kv_heads, config_.head_dim},
      activation_(ops::activation_of(config_.activation)),
      embedding_scale_(
          at::scalar_tensor(config_.embedding_scale, decoder.weights().token_embedding.options()).item<float>()) {
  const DecoderWeights& weights = decoder.weights();
  embedding_ = matrix(weights.token_embedding);
  head_ = weights.head.is_same(weights.token_embedding) ? embedding_ : matrix(weights.head);
  if (weights.position_embedding.defined()) {
    positions_ = weights.position_embedding.detach().to(at::kFloat).contiguous();
  }
  for (const DecoderLayer& layer : weights.layers) {
    layers_.push_back(this->layer(layer));
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

DecodeModel::NormView DecodeModel::norm(const Norm& norm) {
  const bool plus_one = config_.norm_plus_one && norm.weight.defined();
  return {vector(plus_one ? norm.weight.detach().to(at::kFloat).add(1) : norm.weight), vector(norm.bias)};
}

DecodeModel::LayerView DecodeModel::layer(const DecoderLayer& layer) {
  LayerView view{norm(layer.attention_norm), norm(layer.mlp_norm), norm(layer.attention_post_norm),
                 norm(layer.mlp_post_norm),  norm(layer.q_norm),   norm(layer.k_norm),
                 linear(layer.qkv),          linear(layer.out),    linear(layer.gate_up),
                 linear(layer.down),         linear(layer.router), {}};
  for (const ExpertLayer& expert : layer.experts) {
    view.experts.push_back({linear(expert.gate_up), linear(expert.down)});
  }
  return view;
}

DecodeModel::LinearView DecodeModel::linear(const Linear& linear) {
  if (!linear.weight.defined()) return {};
  const ops::MatrixView weight =
      linear.scale.defined() ? ops::MatrixView::of(linear.weight, linear.scale) : matrix(linear.weight);
  LinearView view{weight, vector(linear.bias), {}, vector(column_gains(linear))};
  for (const Adapter& adapter : linear.adapters) {
    view.adapters.push_back(
        {matrix(adapter.a), matrix(adapter.b), adapter.first, static_cast<float>(adapter.scale), adapter.set});
  }
  return view;
}

void DecodeModel::embed(const DecodeBatch& batch) {
  const int64_t dim = config_.hidden_size;
  grow(hidden_, batch.tokens() * dim);
  for (int64_t n = 0; n < batch.tokens(); ++n) {
    float* row = hidden_.data() + n * dim;
    const int64_t id = batch.ids[static_cast<size_t>(n)] - vocabulary_.first;
    if (id >= 0 && id < vocabulary_.count) {
      read_row(embedding_, id, row);
    } else {
      std::fill(row, row + dim, 0.0f);
    }
  }
  sum_parts(hidden_.data(), batch.tokens() * dim);
  for (int64_t n = 0; n < batch.tokens(); ++n) {
    float* row = hidden_.data() + n * dim;
    if (embedding_scale_ != 1) {
      for (int64_t d = 0; d < dim; ++d) row[d] *= embedding_scale_;
    }
    if (!positions_.defined()) continue;
    const float* position = positions_.const_data_ptr<float>() + batch.positions[static_cast<size_t>(n)] * dim;
    for (int64_t d = 0; d < dim; ++d) row[d] += position[d];
  }
}

void DecodeModel::extend(Angles& angles, const Rotary& rotary, int64_t positions) const {
  const auto half = static_cast<int64_t>(rotary.inv_freq.size());
  if (half == 0 || static_cast<int64_t>(angles.cos.size()) >= positions * half) return;
  for (auto position = static_cast<int64_t>(angles.cos.size()) / half; position < positions; ++position) {
    for (double inv_freq : rotary.inv_freq) {
      // The product is rounded to float32, as in training and in transformers: at far positions that moves the angle.
      const float angle = static_cast<float>(inv_freq) * static_cast<float>(position);
      angles.cos.push_back(static_cast<float>(std::cos(double{angle}) * rotary.scale));
      angles.sin.push_back(static_cast<float>(std::sin(double{angle}) * rotary.scale));
    }
  }
}

void DecodeModel::normalise(const NormView& norm, const float* x, int64_t rows, float* y) const {
  ops::decode_norm(x, rows, config_.hidden_size, norm.weight.data, norm.bias.data, config_.norm_eps, y);
}

/// The stream itself where there is no norm.
const float* DecodeModel::normed_stream(const NormView& norm, int64_t rows) {
  if (!norm.weight.data) return hidden_.data();
  normalise(norm, hidden_.data(), rows, normed_.data());
  return normed_.data();
}

/// Adds last(x), normed where there is a norm, to the stream.
void DecodeModel::add_normed(const NormView& norm, const LinearView& last, const float* x, int64_t rows) {
  if (!norm.weight.data && !group_) return apply(last, x, rows, hidden_.data(), true);
  const int64_t size = rows * config_.hidden_size;
  grow(added_, size);
  group_ ? add_parts(last, x, rows, added_.data()) : apply(last, x, rows, added_.data(), false);
  if (norm.weight.data) normalise(norm, added_.data(), rows, added_.data());
  for (int64_t i = 0; i < size; ++i) hidden_[static_cast<size_t>(i)] += added_[static_cast<size_t>(i)];
}

void DecodeModel::apply(const LinearView& linear, const float* x, int64_t rows, float* y, bool add) {
  if (linear.gains.data) return apply_gained(linear, x, rows, y, add);
  ops::decode_linear(x, linear.weight.in, rows, linear.weight, linear.bias.data, y, linear.weight.out, add);
  add_low_rank(linear, x, rows, y);
}

void DecodeModel::apply_gained(const LinearView& linear, const float* x, int64_t rows, float* y, bool add) {
  const int64_t out = linear.weight.out;
  grow(gained_, rows * out);
  ops::decode_linear(x, linear.weight.in, rows, linear.weight, nullptr, gained_.data(), out);
  add_low_rank(linear, x, rows, gained_.data());
  const float *gains = linear.gains.data, *bias = linear.bias.data;
  for (int64_t n = 0; n < rows; ++n) {
    const float* from = gained_.data() + n * out;
    float* to = y + n * out;
    for (int64_t i = 0; i < out; ++i) to[i] = (add ? to[i] : 0) + from[i] * gains[i] + (bias ? bias[i] : 0);
  }
}

void DecodeModel::add_low_rank(const LinearView& linear, const float* x, int64_t rows, float* y) {
  const int64_t in = linear.weight.in, out = linear.weight.out;
  for (const AdapterView& adapter : linear.adapters) {
    const int64_t rank = adapter.a.out;
    const auto goes_through = [&](int64_t n) {
      return adapter.set == Adapter::kFrozen || (sets_->empty() ? 0 : (*sets_)[static_cast<size_t>(n)]) == adapter.set;
    };
    int64_t first = 0;
    while (first < rows && !goes_through(first)) ++first;
    if (first == rows) continue;
    grow(low_rank_, rows * rank);
    ops::decode_linear(x, in, rows, adapter.a, nullptr, low_rank_.data(), rank);
    for (int64_t i = 0; i < rows * rank; ++i)
      low_rank_[static_cast<size_t>(i)] *= goes_through(i / rank) ? adapter.scale : 0;
    ops::decode_linear(low_rank_.data(), rank, rows, adapter.b, nullptr, y + adapter.first, out, true);
  }
}

void DecodeModel::normalise_heads(const LayerView& layer, float* q, float* k) const {
  const int64_t dim = config_.head_dim, heads = config_.heads, kv_heads = config_.kv_heads;
  const bool all = config_.qk_norm_all;
  const float *q_weight = layer.q_norm.weight.data, *k_weight = layer.k_norm.weight.data;
  if (!q_weight) return;
  ops::decode_norm(q, all ? 1 : heads, all ? heads * dim : dim, q_weight, nullptr, config_.norm_eps, q);
  ops::decode_norm(k, all ? 1 : kv_heads, all ? kv_heads * dim : dim, k_weight, nullptr, config_.norm_eps, k);
}

/// Normalises and rotates q and k in place, and stores k and v.
void DecodeModel::place_heads(const LayerView& layer, int64_t index, const DecodeBatch& batch) {
  const int64_t dim = config_.head_dim, q_width = config_.heads * dim, kv_width = config_.kv_heads * dim;
  const int64_t stride = q_width + 2 * kv_width;
  const LayerKind& kind = config_.kinds[static_cast<size_t>(index)];
  const Angles& angles = kind.local_rope ? local_angles_ : angles_;
  const auto half = static_cast<int64_t>((kind.local_rope ? config_.local_rotary : config_.rotary).inv_freq.size());
  at::parallel_for(0, batch.tokens(), std::max<int64_t>(1, 8192 / stride), [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      float *q = qkv_.data() + n * stride, *k = q + q_width, *v = k + kv_width;
      normalise_heads(layer, q, k);
      const auto token = static_cast<size_t>(n);
      if (config_.rope && kind.rope) {
        const float *cos = angles.cos.data() + batch.positions[token] * half,
                    *sin = angles.sin.data() + batch.positions[token] * half;
        ops::rotate_heads(q, config_.heads, dim, 2 * half, cos, sin);
        ops::rotate_heads(k, config_.kv_heads, dim, 2 * half, cos, sin);
      }
      ops::store_kv(layout_, batch.pages[token], index, batch.slots[token], k, v);
    }
  });
}

void DecodeModel::attention(const LayerView& layer, int64_t index, const DecodeBatch& batch) {
  const int64_t rows = batch.tokens(), q_width = config_.heads * config_.head_dim;
  const int64_t stride = layer.qkv.weight.out;
  const float* x = normed_stream(layer.attention_norm, rows);
  grow(qkv_, rows * stride);
  apply(layer.qkv, x, rows, qkv_.data(), false);
  place_heads(layer, index, batch);
  grow(mixed_, rows * q_width);
  const ops::AttentionShape shape{config_.attention_scale, config_.attention_softcap,
                                  config_.kinds[static_cast<size_t>(index)].window};
  ops::decode_attention(layout_, index, batch.tiles, qkv_.data(), stride, config_.heads, mixed_.data(), shape);
  add_normed(layer.attention_post_norm, layer.out, mixed_.data(), rows);
}

void DecodeModel::mlp(const LayerView& layer, int64_t rows) {
  const float* x = normed_stream(layer.mlp_norm, rows);
  add_normed(layer.mlp_post_norm, layer.down, activated(layer.gate_up, x, rows, layer.down.weight.in), rows);
}

/// [rows, width]: what goes into the last product of an MLP.
const float* DecodeModel::activated(const LinearView& gate_up, const float* x, int64_t rows, int64_t width) {
  grow(wide_, rows * gate_up.weight.out);
  apply(gate_up, x, rows, wide_.data(), false);
  if (!config_.gated_mlp) {
    ops::decode_activation(activation_, wide_.data(), rows, width);
    return wide_.data();
  }
  grow(gated_, rows * width);
  ops::decode_gated_activation(activation_, wide_.data(), rows, width, gated_.data());
  return gated_.data();
}

/// Sets choices_: which rows go through which expert, and at what weight.
void DecodeModel::choose_experts(const LayerView& layer, const float* x, int64_t rows) {
  const auto count = static_cast<size_t>(config_.experts.count);
  const auto chosen = static_cast<size_t>(config_.experts.per_token);
  grow(routing_, rows * config_.experts.count);
  apply(layer.router, x, rows, routing_.data(), false);
  choices_.assign(count, {});
  std::vector<size_t> order(count);
  for (int64_t n = 0; n < rows; ++n) {
    float* p = routing_.data() + n * config_.experts.count;
    const float top = *std::max_element(p, p + count);
    float total = 0, kept = 0;
    for (size_t e = 0; e < count; ++e) total += p[e] = std::exp(p[e] - top);
    for (size_t e = 0; e < count; ++e) order[e] = e;
    std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(chosen), order.end(),
                      [&](size_t a, size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
    for (size_t k = 0; k < chosen; ++k) kept += p[order[k]];
    const float divisor = config_.experts.normalise ? kept : total;
    for (size_t k = 0; k < chosen; ++k) choices_[order[k]].push_back({n, p[order[k]] / divisor});
  }
}

void DecodeModel::experts(const LayerView& layer, int64_t rows) {
  const int64_t dim = config_.hidden_size, width = config_.experts.intermediate_size;
  const float* x = normed_stream(layer.mlp_norm, rows);
  choose_experts(layer, x, rows);
  for (size_t e = 0; e < layer.experts.size(); ++e) {
    const auto count = static_cast<int64_t>(choices_[e].size());
    if (count == 0) continue;
    grow(gathered_, count * dim), grow(produced_, count * dim);
    for (int64_t i = 0; i < count; ++i) {
      const float* row = x + choices_[e][static_cast<size_t>(i)].row * dim;
      std::copy(row, row + dim, gathered_.data() + i * dim);
    }
    const float* wide = activated(layer.experts[e].gate_up, gathered_.data(), count, width);
    apply(layer.experts[e].down, wide, count, produced_.data(), false);
    for (int64_t i = 0; i < count; ++i) {
      const Choice& choice = choices_[e][static_cast<size_t>(i)];
      for (int64_t d = 0; d < dim; ++d) {
        hidden_[static_cast<size_t>(choice.row * dim + d)] +=
            choice.weight * produced_[static_cast<size_t>(i * dim + d)];
      }
    }
  }
}

const float* DecodeModel::forward(const DecodeBatch& batch) {
  sets_ = &batch.sets;
  const int64_t rows = batch.tokens(), dim = config_.hidden_size;
  const auto outputs = static_cast<int64_t>(batch.outputs.size());
  const int64_t positions = 1 + *std::max_element(batch.positions.begin(), batch.positions.end());
  extend(angles_, config_.rotary, positions), extend(local_angles_, config_.local_rotary, positions);
  embed(batch);
  grow(normed_, rows * dim);
  for (size_t i = 0; i < layers_.size(); ++i) {
    attention(layers_[i], static_cast<int64_t>(i), batch);
    layers_[i].experts.empty() ? mlp(layers_[i], rows) : experts(layers_[i], rows);
  }
  if (outputs == 0) return nullptr;
  for (int64_t i = 0; i < outputs; ++i) {
    normalise(final_norm_, hidden_.data() + batch.outputs[static_cast<size_t>(i)] * dim, 1, normed_.data() + i * dim);
  }
  grow(logits_, outputs * vocab());
  group_ ? gather_logits(outputs)
         : ops::decode_linear(normed_.data(), dim, outputs, head_, nullptr, logits_.data(), vocab());
  if (config_.logit_softcap > 0) {
    at::from_blob(logits_.data(), {outputs, vocab()}).div_(config_.logit_softcap).tanh_().mul_(config_.logit_softcap);
  }
  return logits_.data();
}

}  // namespace rft
