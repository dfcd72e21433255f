#include "nn/t5_layers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/transformers_config.h"
#include "rft/core/error.h"
#include "rft/ops/rms_norm.h"

namespace rft {
namespace {

/// The bucket of a key `far` tokens away: one half of `count` is for single distances, the other for ranges that grow
/// up to `farthest`.
int64_t bucket_of(int64_t far, int64_t count, int64_t farthest) {
  const int64_t exact = count / 2;
  if (far < exact) return far;
  // In float32 and in this order, as transformers does it: a border may fall on either side otherwise.
  const auto scale = static_cast<float>(std::log(static_cast<double>(farthest) / static_cast<double>(exact)));
  const float beyond = std::log(static_cast<float>(far) / static_cast<float>(exact)) / scale;
  return std::min(exact + static_cast<int64_t>(beyond * static_cast<float>(count - exact)), count - 1);
}

/// Scores are not divided by a square root: the weights were initialised for that.
Tensor attend(const Tensor& q, const AttentionKeys& keys, const Tensor& bias) {
  return attend_padded(q, keys, bias, 1);
}

void check(const T5Shape& s, const ModelConfig& c) {
  if (s.width < 1 || s.head_dim < 1 || s.heads < 1 || s.layers < 1 || s.decoder_layers < 1)
    c.refuse("num_heads", "and sizes must be at least 1");
  if (s.buckets < 4 || s.buckets % 4) c.refuse("relative_attention_num_buckets", "must be a multiple of 4");
  if (s.farthest <= s.buckets / 4)
    c.refuse("relative_attention_max_distance", "must be above a quarter of the buckets");
}

}  // namespace

T5Shape T5Shape::of(const std::string& json, const std::string& where) {
  ModelConfig c(json, where);
  const std::string family = c.text("model_type", "t5");
  c.only("model_type", {"t5", "mt5", "umt5"});
  const bool first = family == "t5";  // whose defaults are others
  T5Shape s;
  s.vocabulary = c.integer("vocab_size", first ? 32128 : 250112), s.width = c.integer("d_model", 512);
  s.head_dim = c.integer("d_kv", 64), s.inner = c.integer("d_ff", first ? 2048 : 1024);
  s.heads = c.integer("num_heads", first ? 8 : 6);
  s.layers = c.integer("num_layers", first ? 6 : 8), s.decoder_layers = c.integer("num_decoder_layers", s.layers);
  s.buckets = c.integer("relative_attention_num_buckets", 32);
  s.farthest = c.integer("relative_attention_max_distance", 128);
  s.start = c.integer("decoder_start_token_id", first ? -1 : 0), s.eps = c.number("layer_norm_epsilon", 1e-6);
  s.own_distances = family == "umt5";
  // transformers 5 writes tie_word_embeddings: true for all, and scale_decoder_outputs for T5 alone; mT5's head reads
  // states as they are, UMT5's scaled ones where its config.json says that it is tied.
  s.tied = c.flag("tie_word_embeddings", true);
  s.scaled = first ? c.flag("scale_decoder_outputs", s.tied) : family == "umt5" && s.tied;
  std::string kind = c.text("feed_forward_proj", first ? "relu" : "gated-gelu");
  s.gated = kind.starts_with("gated-"), s.activation = s.gated ? kind.substr(6) : kind;
  if (kind == "gated-gelu") s.activation = "gelu_new";  // as the library reads it
  activate(s.activation, at::zeros({1}), c.where() + ": `feed_forward_proj`");
  c.only("is_gated_act", {s.gated}), c.only("dense_act_fn", {s.activation});
  // UMT5's files say true, and transformers reads it nowhere.
  s.own_distances ? c.ignore({"scalable_attention"}) : c.only("scalable_attention", {false});
  c.ignore({"dropout_rate", "classifier_dropout", "n_positions", "output_past", "pad_token_id", "eos_token_id",
            "bos_token_id", "max_new_tokens"});
  ignore_general_fields(c);
  check(s, c);
  c.finish();
  return s;
}

T5Stack::T5Stack(const WeightSource& source, const T5Shape& shape, bool decoder, const std::string& where)
    : shape_(shape), decoder_(decoder), where_(where) {
  WeightSource blocks = source.in("block");
  for (int64_t i = 0; i < (decoder ? shape.decoder_layers : shape.layers); ++i) {
    WeightSource block = blocks.in(std::to_string(i));
    blocks_.push_back(take_block(block));
    if (i > 0 && !shape.own_distances) continue;
    distances_.push_back(block.embedding("layer.0.SelfAttention.relative_attention_bias", shape.buckets, shape.heads));
    // Old directories have a table that nothing reads; so says transformers.
    if (decoder) block.ignore("layer.1.EncDecAttention.relative_attention_bias");
  }
  norm_ = source.norm("final_layer_norm", shape.width, false);
}

T5Stack::Attention T5Stack::take_attention(const WeightSource& layer, const std::string& name) const {
  const int64_t width = shape_.width, wide = shape_.heads * shape_.head_dim;
  WeightSource at = layer.in(name);
  Attention out;
  out.q = at.linear("q", width, wide, false), out.k = at.linear("k", width, wide, false);
  out.v = at.linear("v", width, wide, false), out.out = at.linear("o", wide, width, false);
  out.before = layer.norm("layer_norm", width, false);
  return out;
}

T5Stack::Block T5Stack::take_block(const WeightSource& block) const {
  Block out;
  out.self = take_attention(block.in("layer.0"), "SelfAttention");
  if (decoder_) out.cross = take_attention(block.in("layer.1"), "EncDecAttention");
  WeightSource layer = block.in(decoder_ ? "layer.2" : "layer.1"), at = layer.in("DenseReluDense");
  out.up = at.linear(shape_.gated ? "wi_0" : "wi", shape_.width, shape_.inner, false);
  if (shape_.gated) out.gate = at.linear("wi_1", shape_.width, shape_.inner, false);
  out.down = at.linear("wo", shape_.inner, shape_.width, false);
  out.before = layer.norm("layer_norm", shape_.width, false);
  return out;
}

Tensor T5Stack::dense(const Block& block, const Tensor& x) const {
  Tensor wide = activate(shape_.activation, apply(*block.up, x), where_);
  if (block.gate) wide = wide.mul(apply(*block.gate, x));
  return apply(*block.down, wide);
}

/// [P, H, T, head_dim].
Tensor T5Stack::heads(const Linear& linear, const Tensor& x, const Segments& rows) const {
  return to_heads(apply(linear, x), rows, shape_.heads);
}

AttentionKeys T5Stack::keys_of(const Attention& attention, const Tensor& x, const Segments& rows) const {
  return {heads(*attention.k, x, rows), heads(*attention.v, x, rows), rows.beyond()};
}

/// [H, queries, keys]: what is added to the scores of the queries at positions `first`, first + 1, ..., and keys at 0,
/// 1, ...: a number of their distance, and, in a decoder, nothing for keys to come. An encoder's buckets are halved:
/// keys behind, keys ahead.
std::vector<Tensor> T5Stack::biases(int64_t first, int64_t queries, int64_t keys) const {
  const int64_t half = decoder_ ? shape_.buckets : shape_.buckets / 2;
  Tensor buckets = at::empty({queries, keys}, at::kLong);
  auto at = buckets.accessor<int64_t, 2>();
  for (int64_t i = 0; i < queries; ++i)
    for (int64_t j = 0; j < keys; ++j) {
      const int64_t ahead = j - (first + i), far = decoder_ ? std::max<int64_t>(-ahead, 0) : std::abs(ahead);
      at[i][j] = bucket_of(far, half, shape_.farthest) + (ahead > 0 && !decoder_ ? half : 0);
    }
  std::vector<Tensor> out;
  for (const Tensor& distances : distances_) {
    out.push_back(at::embedding(distances, buckets).permute({2, 0, 1}));
    if (!decoder_ || first + 1 >= keys) continue;
    const Tensor to_come = at::ones({queries, keys}, at::kBool).triu(first + 1);
    out.back() = out.back().masked_fill(to_come, -std::numeric_limits<double>::infinity());
  }
  out.resize(blocks_.size(), out.front());
  return out;
}

Tensor T5Stack::run(Tensor x, const SelfAttention& self, const Segments* answers,
                    const std::vector<AttentionKeys>* prompts, Tensor* penultimate) const {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    if (penultimate && i + 1 == blocks_.size()) *penultimate = x;
    x = x.add(apply(*block.self.out, self(i, ops::rms_norm(x, block.self.before.weight, shape_.eps))));
    if (prompts) {
      const Tensor normed = ops::rms_norm(x, block.cross.before.weight, shape_.eps);
      const Tensor seen = attend(heads(*block.cross.q, normed, *answers), (*prompts)[i], {});
      x = x.add(apply(*block.cross.out, from_heads(seen, *answers)));
    }
    x = x.add(dense(block, ops::rms_norm(x, block.before.weight, shape_.eps)));
  }
  return ops::rms_norm(x, norm_.weight, shape_.eps);
}

Tensor T5Stack::among_themselves(const Tensor& x, const Segments& rows, const Segments* answers,
                                 const std::vector<AttentionKeys>* prompts, Tensor* penultimate) const {
  const auto added = biases(0, rows.longest(), rows.longest());
  const auto self = [&](size_t i, const Tensor& normed) {
    const Attention& attention = blocks_[i].self;
    AttentionKeys keys = keys_of(attention, normed, rows);
    if (decoder_) keys.beyond = Tensor();  // what pads a row comes after all of its tokens
    return from_heads(attend(heads(*attention.q, normed, rows), keys, added[i]), rows);
  };
  return run(x, self, answers, prompts, penultimate);
}

Tensor T5Stack::encode(const Tensor& x, const Segments& rows, Tensor* penultimate) const {
  return among_themselves(x, rows, nullptr, nullptr, penultimate);
}

std::vector<AttentionKeys> T5Stack::keys(const Tensor& encoded, const Segments& prompts) const {
  std::vector<AttentionKeys> out;
  for (const Block& block : blocks_) out.push_back(keys_of(block.cross, encoded, prompts));
  return out;
}

Tensor T5Stack::decode(const Tensor& x, const Segments& rows, const Segments& answers,
                       const std::vector<AttentionKeys>& prompts) const {
  return among_themselves(x, rows, &answers, &prompts, nullptr);
}

Tensor T5Stack::step(const Tensor& x, KeyCache& cache, const Segments& answers,
                     const std::vector<AttentionKeys>& prompts) const {
  const int64_t rows = x.size(0), at = cache.length();
  const auto added = biases(at, 1, at + 1);
  const auto one = [&](const Linear& linear, const Tensor& normed) {
    return apply(linear, normed).view({rows, shape_.heads, shape_.head_dim});
  };
  const auto self = [&](size_t i, const Tensor& normed) {
    const Attention& attention = blocks_[i].self;
    const AttentionKeys keys = cache.append(i, one(*attention.k, normed), one(*attention.v, normed));
    return attend(one(*attention.q, normed).unsqueeze(2), keys, added[i])
        .reshape({rows, shape_.heads * shape_.head_dim});
  };
  return run(x, self, &answers, &prompts, nullptr);
}

}  // namespace rft
