// T5 with a decoder and the vocabulary's head (Raffel et al. 2020, arXiv:1910.10683): transformers'
// T5ForConditionalGeneration, MT5ForConditionalGeneration and UMT5ForConditionalGeneration.
#include <ATen/ATen.h>

#include <cmath>

#include "nn/encoder_decoder.h"
#include "nn/seq2seq_models.h"
#include "nn/t5_layers.h"
#include "nn/text_encoders.h"
#include "rft/core/error.h"

namespace rft {
namespace {

class T5Seq2Seq : public EncoderDecoder {
 public:
  T5Seq2Seq(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json), where_(where), shape_(T5Shape::of(json, where)) {
    check_start(shape_.start, shape_.vocabulary, where);
    if (shape_.farthest <= shape_.buckets / 2)
      bad_input(where, "'relative_attention_max_distance' must be above half of a decoder's buckets, ",
                shape_.buckets / 2, "; got ", shape_.farthest);
    token_ = shared_embedding(source, shape_.vocabulary, shape_.width, {"encoder", "decoder"}, where);
    // As transformers 5: whatever the config says, a head that is there counts.
    const bool own_head = !shape_.tied || source.differ("lm_head.weight", "shared.weight");
    encoder_ = T5Stack(source.in("encoder"), shape_, false, where);
    decoder_ = T5Stack(source.in("decoder"), shape_, true, where);
    if (!own_head) source.ignore("lm_head");  // the same tensor
    head_ = own_head ? source.tensor("lm_head.weight", {shape_.vocabulary, shape_.width}) : token_;
    weights_ = source.finish();
  }

  Memory read(const Packed& prompts) const override {
    const Segments rows(prompts.lengths);
    return decoder_.keys(encoder_.encode(embed(prompts.ids), rows), rows);
  }

  Tensor judge(const Packed& answers, const Segments& tokens, const Memory& memory) const override {
    return scaled(decoder_.decode(embed(answers.ids), Segments(answers.lengths), tokens, memory));
  }
  Tensor step(const Tensor& ids, KeyCache& cache, const Segments& rows, const Memory& memory) const override {
    return scaled(decoder_.step(embed(ids), cache, rows, memory));
  }

  const Tensor& head() const override { return head_; }
  int64_t start_id() const override { return shape_.start; }
  int64_t cache_floats() const override { return 2 * shape_.decoder_layers * shape_.heads * shape_.head_dim; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  Tensor embed(const Tensor& ids) const {
    check_token_ids(ids.unsqueeze(0), shape_.vocabulary, 0, where_);
    return at::embedding(token_, ids);
  }
  Tensor scaled(const Tensor& hidden) const {
    return shape_.scaled ? hidden.mul(1 / std::sqrt(static_cast<double>(shape_.width))) : hidden;
  }

  std::string json_, where_;
  T5Shape shape_;
  Tensor token_, head_;
  T5Stack encoder_, decoder_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<Seq2Seq> make_t5_seq2seq(const std::string& config_json, const WeightSource& source,
                                         const std::string& where) {
  return std::make_unique<T5Seq2Seq>(config_json, source, where);
}

double t5_deviation(const std::string& name, const Tensor& weight, const std::string& config_json) {
  if (name == "shared.weight" || name == "lm_head.weight") return 1;
  const T5Shape shape = T5Shape::of(config_json, "config.json");
  if (name.find("relative_attention_bias") != std::string::npos) return 1 / std::sqrt(static_cast<double>(shape.width));
  const double share = 1 / std::sqrt(static_cast<double>(weight.size(1)));
  return name.ends_with("Attention.q.weight") ? share / std::sqrt(static_cast<double>(shape.head_dim)) : share;
}

}  // namespace rft
