// T5's encoder (Raffel et al. 2020, arXiv:1910.10683): transformers' T5EncoderModel.
#include <ATen/ATen.h>

#include <cmath>

#include "nn/text_encoders.h"
#include "nn/transformers_config.h"
#include "rft/core/error.h"
#include "rft/ops/rms_norm.h"

namespace rft {
namespace {

struct T5Shape {
  int64_t vocabulary, width, head_dim, inner, layers, heads, buckets, farthest;
  double eps;
  std::string activation;
  bool gated;

  explicit T5Shape(ModelConfig& c) {
    vocabulary = c.integer("vocab_size", 32128), width = c.integer("d_model", 512), head_dim = c.integer("d_kv", 64);
    inner = c.integer("d_ff", 2048), layers = c.integer("num_layers", 6), heads = c.integer("num_heads", 8);
    buckets = c.integer("relative_attention_num_buckets", 32);
    farthest = c.integer("relative_attention_max_distance", 128);
    eps = c.number("layer_norm_epsilon", 1e-6);
    std::string kind = c.text("feed_forward_proj", "relu");
    gated = kind.starts_with("gated-"), activation = gated ? kind.substr(6) : kind;
    if (kind == "gated-gelu") activation = "gelu_new";  // as the library reads it
    activate(activation, at::zeros({1}), c.where() + ": `feed_forward_proj`");
    c.only("model_type", {"t5"}), c.only("is_gated_act", {gated}), c.only("dense_act_fn", {activation});
    c.only("scalable_attention", {false});
    c.ignore({"num_decoder_layers", "dropout_rate", "classifier_dropout", "n_positions", "output_past", "pad_token_id",
              "eos_token_id", "bos_token_id", "scale_decoder_outputs"});
    ignore_general_fields(c);
    if (width < 1 || head_dim < 1 || heads < 1 || layers < 1) c.refuse("num_heads", "and sizes must be at least 1");
    if (buckets < 4 || buckets % 4) c.refuse("relative_attention_num_buckets", "must be a multiple of 4");
    if (farthest <= buckets / 4) c.refuse("relative_attention_max_distance", "must be above a quarter of the buckets");
    c.finish();
  }
};

/// [L, L] int64: the bucket of key j's distance from query i. Half of them are for keys behind, and of each half one
/// half is for single distances, the other for ranges that grow up to `farthest`.
Tensor distance_buckets(int64_t length, const T5Shape& shape) {
  int64_t half = shape.buckets / 2, exact = half / 2;
  Tensor out = at::empty({length, length}, at::kLong);
  auto at = out.accessor<int64_t, 2>();
  auto scale = static_cast<float>(std::log(static_cast<double>(shape.farthest) / static_cast<double>(exact)));
  for (int64_t i = 0; i < length; ++i)
    for (int64_t j = 0; j < length; ++j) {
      int64_t far = std::abs(j - i), bucket = far;
      if (far >= exact) {
        float beyond = std::log(static_cast<float>(far) / static_cast<float>(exact)) / scale;
        bucket = std::min(exact + static_cast<int64_t>(beyond * static_cast<float>(half - exact)), half - 1);
      }
      at[i][j] = bucket + (j > i ? half : 0);
    }
  return out;
}

class T5 : public TextEncoder {
 public:
  T5(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json), where_(where), s_(shape_of(json, where)) {
    token_ = source.embedding("shared", s_.vocabulary, s_.width);
    source.ignore("encoder.embed_tokens");  // the same tensor
    source.ignore("decoder"), source.ignore("lm_head");
    WeightSource blocks = source.in("encoder.block");
    int64_t wide = s_.heads * s_.head_dim;
    for (int64_t i = 0; i < s_.layers; ++i) {
      WeightSource at = blocks.in(std::to_string(i)), self = at.in("layer.0.SelfAttention");
      WeightSource dense = at.in("layer.1.DenseReluDense");
      Block block;
      block.q = self.linear("q", s_.width, wide, false), block.k = self.linear("k", s_.width, wide, false);
      block.v = self.linear("v", s_.width, wide, false), block.out = self.linear("o", wide, s_.width, false);
      if (i == 0) distances_ = self.embedding("relative_attention_bias", s_.buckets, s_.heads);
      block.before = at.norm("layer.0.layer_norm", s_.width, false);
      block.up = dense.linear(s_.gated ? "wi_0" : "wi", s_.width, s_.inner, false);
      if (s_.gated) block.gate = dense.linear("wi_1", s_.width, s_.inner, false);
      block.down = dense.linear("wo", s_.inner, s_.width, false);
      block.after = at.norm("layer.1.layer_norm", s_.width, false);
      blocks_.push_back(std::move(block));
    }
    norm_ = source.norm("encoder.final_layer_norm", s_.width, false);
    weights_ = source.finish();
  }

  Output forward(const Tensor& ids) const override {
    check_token_ids(ids, s_.vocabulary, 0, where_);
    Tensor x = at::embedding(token_, ids), bias = at::embedding(distances_, distance_buckets(ids.size(1), s_));
    bias = bias.permute({2, 0, 1}).unsqueeze(0);
    Output out;
    for (const Block& block : blocks_) {
      if (&block == &blocks_.back()) out.penultimate = x;
      x = x.add(attend(block, ops::rms_norm(x, block.before.weight, s_.eps), bias));
      Tensor normed = ops::rms_norm(x, block.after.weight, s_.eps);
      Tensor wide = activate(s_.activation, apply(*block.up, normed), where_);
      if (block.gate) wide = wide.mul(apply(*block.gate, normed));
      x = x.add(apply(*block.down, wide));
    }
    out.hidden = ops::rms_norm(x, norm_.weight, s_.eps);
    return out;
  }

  int64_t max_positions() const override { return 0; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  struct Block {
    Norm before, after;
    std::shared_ptr<Linear> q, k, v, out, up, gate, down;
  };

  static T5Shape shape_of(const std::string& json, const std::string& where) {
    ModelConfig config(json, where);
    return T5Shape(config);
  }

  /// The scores are not divided by a square root: the weights were initialised for that.
  Tensor attend(const Block& block, const Tensor& x, const Tensor& bias) const {
    auto heads = [&](const Linear& linear) {
      return apply(linear, x).view({x.size(0), x.size(1), s_.heads, s_.head_dim}).transpose(1, 2);
    };
    Tensor scores = heads(*block.q).matmul(heads(*block.k).transpose(2, 3)).add(bias);
    Tensor shares = scores.to(at::promote_types(x.scalar_type(), at::kFloat)).softmax(-1).to(x.scalar_type());
    return apply(*block.out, shares.matmul(heads(*block.v)).transpose(1, 2).flatten(2));
  }

  std::string json_, where_;
  T5Shape s_;
  Tensor token_, distances_;
  std::vector<Block> blocks_;
  Norm norm_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_t5(const std::string& config_json, const WeightSource& source,
                                     const std::string& where) {
  return std::make_unique<T5>(config_json, source, where);
}

}  // namespace rft
