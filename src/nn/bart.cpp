// BART, mBART and Pegasus with the vocabulary's head: transformers' BartForConditionalGeneration,
// MBartForConditionalGeneration and PegasusForConditionalGeneration.
#include <ATen/ATen.h>

#include "nn/bart_layers.h"
#include "nn/encoder_decoder.h"
#include "nn/seq2seq_models.h"
#include "nn/text_encoders.h"
#include "rft/core/error.h"

namespace rft {
namespace {

class Bart : public EncoderDecoder {
 public:
  Bart(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json), where_(where), shape_(BartShape::of(json, where)) {
    check_start(shape_.start, shape_.vocabulary, where);
    const WeightSource body = source.in("model");
    token_ = shared_embedding(body, shape_.vocabulary, shape_.width, {"encoder", "decoder"}, where);
    encoder_ = BartStack(body.in("encoder"), shape_, false, where);
    decoder_ = BartStack(body.in("decoder"), shape_, true, where);
    for (const char* stack : {"encoder", "decoder"}) body.ignore(std::string(stack) + ".version");
    take_head(source);
    weights_ = source.finish();
  }

  Memory read(const Packed& prompts) const override {
    return decoder_.keys(encoder_.encode(embed(prompts.ids), prompts.lengths), Segments(prompts.lengths));
  }
  Tensor judge(const Packed& answers, const Segments& tokens, const Memory& memory) const override {
    return decoder_.decode(embed(answers.ids), answers.lengths, tokens, memory);
  }
  Tensor step(const Tensor& ids, KeyCache& cache, const Segments& rows, const Memory& memory) const override {
    return decoder_.step(embed(ids), cache, rows, memory);
  }

  const Tensor& head() const override { return head_; }
  int64_t start_id() const override { return shape_.start; }
  int64_t max_positions() const override { return shape_.positions; }
  int64_t cache_floats() const override { return 2 * shape_.decoder.layers * shape_.width; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  /// As transformers 5: whatever the config says, a head that is there counts. A bias of the logits is zero in all that
  /// is published, and never trained.
  void take_head(const WeightSource& source) {
    const std::vector<int64_t> shape{shape_.vocabulary, shape_.width};
    const bool own = !shape_.tied || source.differ("lm_head.weight", "model.shared.weight");
    if (!own) source.ignore("lm_head");  // the same tensor
    head_ = own ? source.tensor("lm_head.weight", shape) : token_;
    if (!source.has("final_logits_bias")) return;
    const Tensor bias = source.buffer("final_logits_bias", at::zeros({1, shape_.vocabulary}));
    if (bias.any().item<bool>())
      bad_input(where_, "'final_logits_bias' must be zero; a bias of the logits is not implemented");
  }

  /// What is padding gets no gradient here, as torch's embeddings with a padding_idx.
  Tensor embed(const Tensor& ids) const {
    check_token_ids(ids.unsqueeze(0), shape_.vocabulary, 0, where_);
    const Tensor x = at::embedding(token_, ids, shape_.padding);
    return shape_.scale == 1 ? x : x.mul(shape_.scale);
  }

  std::string json_, where_;
  BartShape shape_;
  Tensor token_, head_;
  BartStack encoder_, decoder_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<Seq2Seq> make_bart(const std::string& config_json, const WeightSource& source,
                                   const std::string& where) {
  return std::make_unique<Bart>(config_json, source, where);
}

}  // namespace rft
