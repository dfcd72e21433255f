// BERT, RoBERTa and DistilBERT of transformers.
#include <ATen/ATen.h>

#include <optional>

#include "nn/text_encoders.h"
#include "nn/transformers_config.h"
#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/nn/sentence_encoder.h"

namespace rft {
namespace {

/// What a family calls the parts of its layers.
struct BertNames {
  const char *layer, *query, *key, *value, *out, *attention_norm, *up, *down, *output_norm;
};
struct BertFamily {
  const char *name, *prefix;
  const BertNames& names;
};
constexpr BertNames kBert{"encoder.layer.",       "attention.self.query",   "attention.self.key",
                          "attention.self.value", "attention.output.dense", "attention.output.LayerNorm",
                          "intermediate.dense",   "output.dense",           "output.LayerNorm"};
constexpr BertNames kDistilBert{"transformer.layer.", "attention.q_lin",   "attention.k_lin",
                                "attention.v_lin",    "attention.out_lin", "sa_layer_norm",
                                "ffn.lin1",           "ffn.lin2",          "output_layer_norm"};
constexpr BertFamily kFamilies[] = {{"Bert", "bert", kBert},
                                    {"Roberta", "roberta", kBert},
                                    {"XLMRoberta", "roberta", kBert},
                                    {"DistilBert", "distilbert", kDistilBert}};

struct BertShape {
  int64_t vocab = 0, width = 0, layers = 0, heads = 0, inner = 0, positions = 0, types = 0;
  int64_t first_position = 0;  ///< RoBERTa counts from behind the padding's
  double eps = 1e-12;
  std::string activation;
};

struct Architecture {
  const BertFamily& family;
  bool classifies;
};

Architecture architecture_of(const std::string& json, const std::string& where) {
  auto names = ModelConfig(json, where).texts("architectures", {});
  std::string name = names.empty() ? "" : names[0];
  std::vector<std::string> known;
  for (const BertFamily& family : kFamilies)
    for (const char* kind : {"Model", "ForMaskedLM", "ForSequenceClassification"}) {
      known.push_back(std::string(family.name) + kind);
      if (name == known.back()) return {family, std::string(kind) == "ForSequenceClassification"};
    }
  bad_input(where, "there is no encoder '", name, "' (config.json's architectures)", suggestion(name, known));
}

BertShape read_distilbert(ModelConfig& c) {
  BertShape s;
  s.vocab = c.integer("vocab_size", 30522), s.width = c.integer("dim", 768), s.layers = c.integer("n_layers", 6);
  s.heads = c.integer("n_heads", 12), s.inner = c.integer("hidden_dim", 3072);
  s.positions = c.integer("max_position_embeddings", 512), s.activation = c.text("activation", "gelu");
  c.ignore({"sinusoidal_pos_embds", "dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout", "tie_weights_",
            "output_past"});
  return s;
}

BertShape read_bert(ModelConfig& c, bool roberta) {
  BertShape s;
  s.vocab = c.integer("vocab_size", 30522), s.width = c.integer("hidden_size", 768);
  s.layers = c.integer("num_hidden_layers", 12), s.heads = c.integer("num_attention_heads", 12);
  s.inner = c.integer("intermediate_size", 3072), s.positions = c.integer("max_position_embeddings", 512);
  s.types = c.integer("type_vocab_size", 2), s.eps = c.number("layer_norm_eps", 1e-12);
  s.activation = c.text("hidden_act", "gelu");
  if (roberta) s.first_position = c.integer("pad_token_id", 1) + 1;
  c.only("position_embedding_type", {"absolute"});
  c.ignore({"hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "output_past"});
  return s;
}

BertShape read_shape(ModelConfig& c, const Architecture& architecture) {
  std::string name = architecture.family.name;
  BertShape s = name == "DistilBert" ? read_distilbert(c) : read_bert(c, name != "Bert");
  c.only("problem_type", {"single_label_classification", "multi_label_classification", "regression"});
  c.ignore({"model_type", "pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings"});
  ignore_general_fields(c);
  c.finish();
  for (auto [field, value] : {std::pair{"vocab_size", s.vocab},
                              {"the width", s.width},
                              {"the layers", s.layers},
                              {"the heads", s.heads},
                              {"the MLP's width", s.inner},
                              {"the positions", s.positions}})
    if (value < 1 || value > (int64_t{1} << 28)) bad_input(c.where(), field, " must be in 1 .. 2^28; got ", value);
  if (s.width % s.heads) bad_input(c.where(), "the heads must divide the width; got ", s.heads, " and ", s.width);
  return s;
}

class Bert : public SentenceEncoder {
 public:
  Bert(const std::string& json, const WeightSource& source, const std::string& where)
      : where_(where), architecture_(architecture_of(json, where)) {
    ModelConfig config(json, where);
    shape_ = read_shape(config, architecture_);
    if (architecture_.classifies) {
      ModelConfig again(json, where);
      labels_ = label_names(again);
    }
    const BertFamily& family = architecture_.family;
    WeightSource body = source.has(family.prefix) ? source.in(family.prefix) : source;
    take_embeddings(body.in("embeddings"));
    for (int64_t i = 0; i < shape_.layers; ++i) take_layer(body.in(cat(family.names.layer, i)));
    take_head(source, body);
    weights_ = source.finish();
  }

  Tensor hidden(const Tensor& ids, const Tensor& mask) const override {
    check_token_ids(ids, shape_.vocab, max_length(), where_);
    int64_t L = ids.size(1);
    Tensor x = at::embedding(word_, ids).add(position_.narrow(0, shape_.first_position, L));
    if (type_.defined()) x = x.add(type_.select(0, 0));
    x = layer_norm(norm_, x, shape_.eps);
    Tensor seen = mask.view({ids.size(0), 1, 1, L});
    for (const Layer& layer : layers_) {
      x = layer_norm(layer.attention_norm, x.add(attend(layer, x, seen)), shape_.eps);
      Tensor wide = activate(shape_.activation, apply(*layer.up, x), where_);
      x = layer_norm(layer.output_norm, x.add(apply(*layer.down, wide)), shape_.eps);
    }
    return x;
  }

  Tensor logits(const Tensor& ids, const Tensor& mask) const override {
    if (labels_.empty()) run_failed("encoder", where_, " has no head that classifies");
    Tensor first = apply(*dense_, hidden(ids, mask).select(1, 0));
    return apply(*classifier_, std::string(architecture_.family.name) == "DistilBert" ? first.relu() : first.tanh());
  }

  const std::vector<std::string>& labels() const override { return labels_; }
  int64_t max_length() const override { return shape_.positions - shape_.first_position; }
  int64_t width() const override { return shape_.width; }
  const Weights& weights() const override { return weights_; }

 private:
  struct Layer {
    std::shared_ptr<Linear> query, key, value, out, up, down;
    Norm attention_norm, output_norm;
  };

  void take_embeddings(const WeightSource& at) {
    at.ignore("position_ids"), at.ignore("token_type_ids");
    word_ = at.embedding("word_embeddings", shape_.vocab, shape_.width);
    position_ = at.embedding("position_embeddings", shape_.positions, shape_.width);
    if (shape_.types > 0) type_ = at.embedding("token_type_embeddings", shape_.types, shape_.width);
    norm_ = norm_of_either_name(at, "LayerNorm", shape_.width);
  }

  void take_layer(const WeightSource& at) {
    const BertNames& f = architecture_.family.names;
    int64_t width = shape_.width;
    layers_.push_back(
        {at.linear(f.query, width, width), at.linear(f.key, width, width), at.linear(f.value, width, width),
         at.linear(f.out, width, width), at.linear(f.up, width, shape_.inner), at.linear(f.down, shape_.inner, width),
         norm_of_either_name(at, f.attention_norm, width), norm_of_either_name(at, f.output_norm, width)});
  }

  void take_head(const WeightSource& source, const WeightSource& body) {
    std::string family = architecture_.family.name;
    int64_t width = shape_.width, labels = static_cast<int64_t>(labels_.size());
    if (!architecture_.classifies) {  // heads of other tasks
      body.ignore("pooler"), source.ignore("pooler");
      for (const char* head : {"cls", "lm_head", "vocab_transform", "vocab_layer_norm", "vocab_projector"})
        source.ignore(head);
    } else if (family == "Bert") {
      dense_ = body.linear("pooler.dense", width, width), classifier_ = source.linear("classifier", width, labels);
    } else if (family == "DistilBert") {
      dense_ = source.linear("pre_classifier", width, width), classifier_ = source.linear("classifier", width, labels);
    } else {
      dense_ = source.linear("classifier.dense", width, width);
      classifier_ = source.linear("classifier.out_proj", width, labels);
    }
  }

  Tensor attend(const Layer& layer, const Tensor& x, const Tensor& seen) const {
    int64_t N = x.size(0), L = x.size(1), size = shape_.width / shape_.heads;
    auto heads = [&](const Linear& linear) {
      return apply(linear, x).view({N, L, shape_.heads, size}).transpose(1, 2);
    };
    Tensor mixed = at::scaled_dot_product_attention(heads(*layer.query), heads(*layer.key), heads(*layer.value), seen);
    return apply(*layer.out, mixed.transpose(1, 2).reshape({N, L, shape_.width}));
  }

  std::string where_;
  Architecture architecture_;
  BertShape shape_;
  std::vector<std::string> labels_;
  Tensor word_, position_, type_;
  Norm norm_;
  std::vector<Layer> layers_;
  std::shared_ptr<Linear> dense_, classifier_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<SentenceEncoder> make_sentence_encoder(const std::string& json, const WeightSource& source,
                                                       const std::string& where) {
  return std::make_unique<Bert>(json, source, where);
}

}  // namespace rft
