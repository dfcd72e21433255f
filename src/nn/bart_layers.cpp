#include "nn/bart_layers.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "nn/transformers_config.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

constexpr double kBartEps = 1e-5;      // of torch.nn.LayerNorm
constexpr int64_t kBartFirst = 2;      // learned tables begin with two rows that nothing reads
constexpr double kWaveLength = 10000;  // of Pegasus' slowest sinusoid, over 2 pi

/// [count, width]: sines in the first half of a row, cosines in the second.
Tensor sinusoid_table(int64_t count, int64_t width) {
  const int64_t half = (width + 1) / 2;
  const Tensor position = at::arange(count, at::kDouble).unsqueeze(1);
  const Tensor angles =
      position.div(at::pow(kWaveLength, at::arange(half, at::kDouble).mul(2.0 / static_cast<double>(width))));
  return at::cat({angles.sin(), angles.cos().narrow(1, 0, width - half)}, 1).to(at::kFloat);
}

BartShape::Stack read_stack(ModelConfig& c, const std::string& part) {
  const std::string layers = part + "_layers", heads = part + "_attention_heads", inner = part + "_ffn_dim";
  return {c.integer(layers.c_str(), 12), c.integer(heads.c_str(), 16), c.integer(inner.c_str(), 4096)};
}

/// Fields of files of older versions, which say how the family is built.
void check_family(ModelConfig& c, const BartShape& s) {
  c.only("normalize_before", {s.pre_norm}), c.only("add_final_layer_norm", {s.pre_norm});
  c.only("normalize_embedding", {s.embedding_norm}), c.only("static_position_embeddings", {s.sinusoids});
  c.only("add_bias_logits", {false});
  for (const auto& stack : {s.encoder, s.decoder})
    if (stack.layers < 1 || stack.heads < 1 || stack.inner < 1 || s.width < 1 || s.width % stack.heads)
      c.refuse("d_model", "must be a multiple of the attention heads, and sizes at least 1");
  if (s.positions < 1) c.refuse("max_position_embeddings", "must be at least 1");
}

}  // namespace

BartShape BartShape::of(const std::string& json, const std::string& where) {
  ModelConfig c(json, where);
  const std::string family = c.text("model_type", "bart");
  c.only("model_type", {"bart", "mbart", "pegasus"});
  BartShape s;
  s.pre_norm = family != "bart", s.embedding_norm = family != "pegasus", s.sinusoids = family == "pegasus";
  s.vocabulary = c.integer("vocab_size", 50265), s.width = c.integer("d_model", 1024);
  s.positions = c.integer("max_position_embeddings", 1024);
  s.encoder = read_stack(c, "encoder"), s.decoder = read_stack(c, "decoder");
  s.start = c.integer("decoder_start_token_id", family == "bart" ? 2 : family == "pegasus" ? 0 : -1);
  s.padding = c.integer("pad_token_id", family == "pegasus" ? 0 : 1);
  s.activation = c.text("activation_function", "gelu");
  activate(s.activation, at::zeros({1}), c.where() + ": `activation_function`");
  if (c.flag("scale_embedding", false)) s.scale = std::sqrt(static_cast<double>(s.width));
  s.tied = c.flag("tie_word_embeddings", true);
  c.ignore({"dropout", "attention_dropout", "activation_dropout", "classifier_dropout", "classif_dropout",
            "encoder_layerdrop", "decoder_layerdrop", "num_hidden_layers", "init_std", "bos_token_id", "eos_token_id",
            "output_past", "extra_pos_embeddings", "force_bos_token_to_be_generated", "save_step"});
  ignore_general_fields(c);
  check_family(c, s);
  c.finish();
  return s;
}

BartStack::BartStack(const WeightSource& source, const BartShape& shape, bool decoder, const std::string& where)
    : shape_(shape), size_(decoder ? shape.decoder : shape.encoder), where_(where), decoder_(decoder) {
  if (shape.sinusoids) {
    // Files of older versions leave the table out.
    const Tensor table = sinusoid_table(shape.positions, shape.width);
    positions_ = source.has("embed_positions.weight") ? source.buffer("embed_positions.weight", table) : table;
  } else {
    first_position_ = kBartFirst;
    positions_ = source.embedding("embed_positions", shape.positions + kBartFirst, shape.width);
  }
  if (shape.embedding_norm) embedding_norm_ = source.norm("layernorm_embedding", shape.width);
  for (int64_t i = 0; i < size_.layers; ++i) {
    const WeightSource at = source.in(cat("layers.", i));
    Layer layer;
    layer.self = take_attention(at, "self_attn");
    if (decoder) layer.cross = take_attention(at, "encoder_attn");
    layer.up = at.linear("fc1", shape.width, size_.inner), layer.down = at.linear("fc2", size_.inner, shape.width);
    layer.norm = at.norm("final_layer_norm", shape.width);
    layers_.push_back(std::move(layer));
  }
  if (shape.pre_norm) last_norm_ = source.norm("layer_norm", shape.width);
}

BartStack::Attention BartStack::take_attention(const WeightSource& layer, const std::string& name) const {
  const WeightSource at = layer.in(name);
  const int64_t width = shape_.width;
  Attention out;
  out.k = at.linear("k_proj", width, width), out.v = at.linear("v_proj", width, width);
  out.q = at.linear("q_proj", width, width), out.out = at.linear("out_proj", width, width);
  out.norm = layer.norm(name + "_layer_norm", width);
  return out;
}

double BartStack::score_scale() const { return 1 / std::sqrt(static_cast<double>(shape_.width / size_.heads)); }

Tensor BartStack::with(const Norm& norm, const Tensor& x, const std::function<Tensor(const Tensor&)>& make) const {
  if (shape_.pre_norm) return x.add(make(layer_norm(norm, x, kBartEps)));
  return layer_norm(norm, x.add(make(x)), kBartEps);
}

/// x with its positions, of rows that begin at `first`.
Tensor BartStack::placed(const Tensor& x, const std::vector<int64_t>& lengths, int64_t first) const {
  std::vector<Tensor> places;
  for (int64_t length : lengths) {
    if (first + length > shape_.positions)
      run_failed(where_, "a row has ", first + length, " tokens; the model takes at most ", shape_.positions);
    places.push_back(at::arange(first, first + length, at::kLong));
  }
  const Tensor table = at::embedding(positions_.to(x.scalar_type()), at::cat(places).add(first_position_));
  const Tensor out = x.add(table);
  return shape_.embedding_norm ? layer_norm(embedding_norm_, out, kBartEps) : out;
}

Tensor BartStack::run(Tensor x, const SelfAttention& self, const Segments* answers,
                      const std::vector<AttentionKeys>* prompts) const {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    x = with(layer.self.norm, x, [&](const Tensor& read) { return apply(*layer.self.out, self(i, read)); });
    if (prompts)
      x = with(layer.cross.norm, x, [&](const Tensor& read) {
        const Tensor q = to_heads(apply(*layer.cross.q, read), *answers, size_.heads);
        return apply(*layer.cross.out, from_heads(attend_padded(q, (*prompts)[i], {}, score_scale()), *answers));
      });
    x = with(layer.norm, x, [&](const Tensor& read) {
      return apply(*layer.down, activate(shape_.activation, apply(*layer.up, read), where_));
    });
  }
  return shape_.pre_norm ? layer_norm(last_norm_, x, kBartEps) : x;
}

AttentionKeys BartStack::keys_of(const Attention& attention, const Tensor& x, const Segments& rows) const {
  return {to_heads(apply(*attention.k, x), rows, size_.heads), to_heads(apply(*attention.v, x), rows, size_.heads),
          rows.beyond()};
}

Tensor BartStack::among_themselves(const Attention& attention, const Tensor& x, const Segments& rows,
                                   const Tensor& to_come) const {
  AttentionKeys keys = keys_of(attention, x, rows);
  if (decoder_) keys.beyond = Tensor();  // what pads a row comes after all of its tokens
  return from_heads(attend_padded(to_heads(apply(*attention.q, x), rows, size_.heads), keys, to_come, score_scale()),
                    rows);
}

Tensor BartStack::encode(const Tensor& x, const std::vector<int64_t>& lengths) const {
  const Segments rows(lengths);
  const auto self = [&](size_t i, const Tensor& read) { return among_themselves(layers_[i].self, read, rows, {}); };
  return run(placed(x, lengths, 0), self, nullptr, nullptr);
}

std::vector<AttentionKeys> BartStack::keys(const Tensor& encoded, const Segments& prompts) const {
  std::vector<AttentionKeys> out;
  for (const Layer& layer : layers_) out.push_back(keys_of(layer.cross, encoded, prompts));
  return out;
}

Tensor BartStack::decode(const Tensor& x, const std::vector<int64_t>& lengths, const Segments& answers,
                         const std::vector<AttentionKeys>& prompts) const {
  const Segments rows(lengths);
  const int64_t T = rows.longest();
  const Tensor to_come = at::full({T, T}, -std::numeric_limits<double>::infinity(), x.options()).triu(1);
  const auto self = [&](size_t i, const Tensor& read) {
    return among_themselves(layers_[i].self, read, rows, to_come);
  };
  return run(placed(x, lengths, 0), self, &answers, &prompts);
}

Tensor BartStack::step(const Tensor& x, KeyCache& cache, const Segments& answers,
                       const std::vector<AttentionKeys>& prompts) const {
  const int64_t rows = x.size(0), at = cache.length();
  const auto one = [&](const Linear& linear, const Tensor& read) {
    return apply(linear, read).view({rows, size_.heads, shape_.width / size_.heads});
  };
  const auto self = [&](size_t i, const Tensor& read) {
    const Attention& attention = layers_[i].self;
    const AttentionKeys keys = cache.append(i, one(*attention.k, read), one(*attention.v, read));
    return attend_padded(one(*attention.q, read).unsqueeze(2), keys, {}, score_scale()).reshape({rows, shape_.width});
  };
  return run(placed(x, std::vector<int64_t>(static_cast<size_t>(rows), 1), at), self, &answers, &prompts);
}

}  // namespace rft
