// EsmForMaskedLM and EsmForSequenceClassification of transformers.
#include <ATen/ATen.h>

#include "nn/esm_trunk.h"
#include "nn/transformers_config.h"
#include "rft/core/error.h"
#include "rft/nn/token_denoiser.h"

namespace rft {
namespace {

void check_class(const std::string& json, const std::string& where, const std::string& name) {
  ModelConfig config(json, where);
  auto names = config.texts("architectures", {});
  if (names.size() != 1 || names[0] != name)
    bad_input(where, "config.json must name the architecture ", name, "; got ", names.empty() ? "none" : names[0]);
}

EsmShape shape_of(const std::string& json, const std::string& where) {
  ModelConfig config(json, where);
  EsmShape shape = read_esm_shape(config);
  config.only("tie_word_embeddings", {true});
  config.finish();
  return shape;
}

class EsmMaskedLm : public TokenDenoiser {
 public:
  EsmMaskedLm(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json), trunk_(source, shape_of(json, where)) {
    const EsmShape& shape = trunk_.shape();
    WeightSource head = source.in("lm_head");
    dense_ = head.linear("dense", shape.width, shape.width), norm_ = head.norm("layer_norm", shape.width);
    bias_ = head.tensor("bias", {shape.vocab}, Init::zeros);
    head.ignore("decoder");  // the embedding once more
    weights_ = source.finish();
  }

  Tensor features(const Tensor& tokens) const override { return trunk_(tokens); }
  Tensor logits(const Tensor& features) const override {
    Tensor x = layer_norm(norm_, at::gelu(apply(*dense_, features)), trunk_.shape().eps);
    return at::linear(x, trunk_.embedding(), bias_);
  }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }
  int64_t vocab_size() const override { return trunk_.shape().vocab; }
  int64_t mask_id() const override { return trunk_.shape().mask_id; }
  int64_t pad_id() const override { return trunk_.shape().pad_id; }
  int64_t max_length() const override { return trunk_.shape().max_length; }

 private:
  std::string json_;
  EsmTrunk trunk_;
  std::shared_ptr<Linear> dense_;
  Norm norm_;
  Tensor bias_;
  Weights weights_;
};

std::vector<std::string> labels_of(const std::string& json, const std::string& where) {
  ModelConfig config(json, where);
  return label_names(config);
}

class EsmClassifier : public SequenceClassifier {
 public:
  EsmClassifier(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json), labels_(labels_of(json, where)), trunk_(source, shape_of(json, where)) {
    int64_t width = trunk_.shape().width;
    WeightSource head = source.in("classifier");
    dense_ = head.linear("dense", width, width);
    out_ = head.linear("out_proj", width, static_cast<int64_t>(labels_.size()));
    weights_ = source.finish();
  }

  Tensor logits(const Tensor& tokens) const override {
    return apply(*out_, apply(*dense_, trunk_(tokens).select(1, 0)).tanh());
  }
  const std::vector<std::string>& labels() const override { return labels_; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }
  int64_t vocab_size() const override { return trunk_.shape().vocab; }
  int64_t max_length() const override { return trunk_.shape().max_length; }

 private:
  std::string json_;
  std::vector<std::string> labels_;
  EsmTrunk trunk_;
  std::shared_ptr<Linear> dense_, out_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<TokenDenoiser> make_token_denoiser(const std::string& json, const WeightSource& source,
                                                   const std::string& where) {
  check_class(json, where, "EsmForMaskedLM");
  return std::make_unique<EsmMaskedLm>(json, source, where);
}

std::unique_ptr<SequenceClassifier> make_sequence_classifier(const std::string& json, const WeightSource& source,
                                                             const std::string& where) {
  check_class(json, where, "EsmForSequenceClassification");
  return std::make_unique<EsmClassifier>(json, source, where);
}

}  // namespace rft
