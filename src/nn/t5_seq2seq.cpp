// T5 with a decoder and the vocabulary's head (Raffel et al. 2020, arXiv:1910.10683): transformers'
// T5ForConditionalGeneration.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "nn/seq2seq_models.h"
#include "nn/t5_layers.h"
#include "nn/text_encoders.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// How many tokens answer each prompt.
std::vector<int64_t> tokens_of(const Seq2SeqRows& rows) {
  std::vector<int64_t> out;
  size_t row = 0;
  for (int64_t samples : rows.samples) {
    int64_t tokens = 0;
    for (int64_t k = 0; k < samples; ++k) tokens += rows.answers.lengths.at(row++);
    out.push_back(tokens);
  }
  TORCH_CHECK(row == rows.answers.lengths.size(), "[T5] the samples must sum to the number of answers");
  return out;
}

class T5Seq2Seq : public Seq2Seq {
 public:
  T5Seq2Seq(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json), where_(where), shape_(T5Shape::of(json, where)) {
    if (shape_.start < 0 || shape_.start >= shape_.vocabulary)
      bad_input(where, "'decoder_start_token_id' must be in 0 .. ", shape_.vocabulary - 1,
                ", the decoder's first token; got ", shape_.start < 0 ? "none" : std::to_string(shape_.start));
    if (shape_.farthest <= shape_.buckets / 2)
      bad_input(where, "'relative_attention_max_distance' must be above half of a decoder's buckets, ",
                shape_.buckets / 2, "; got ", shape_.farthest);
    // As transformers 5: whatever the config says, a head that is there counts.
    const bool own_head = !shape_.tied || source.differ("lm_head.weight", "shared.weight");
    token_ = t5_embedding(source, shape_, {"encoder", "decoder"}, where);
    encoder_ = T5Stack(source.in("encoder"), shape_, false, where);
    decoder_ = T5Stack(source.in("decoder"), shape_, true, where);
    if (!own_head) source.ignore("lm_head");  // the same tensor
    head_ = own_head ? source.tensor("lm_head.weight", {shape_.vocabulary, shape_.width}) : token_;
    weights_ = source.finish();
  }

  Tensor forward(const Seq2SeqRows& rows) const override {
    TORCH_CHECK(rows.prompts.lengths.size() == rows.samples.size(), "[T5] one number of samples a prompt");
    return scaled(decoder_.decode(embed(rows.answers.ids), Segments(rows.answers.lengths), Segments(tokens_of(rows)),
                                  read(rows.prompts)));
  }

  Memory read(const Packed& prompts) const override {
    const Segments rows(prompts.lengths);
    return decoder_.keys(encoder_.encode(embed(prompts.ids), rows), rows);
  }

  std::unique_ptr<Seq2SeqDecoding> decode(const Memory& memory, const std::vector<int64_t>& samples) const override {
    return std::make_unique<Decoding>(*this, memory, samples);
  }

  const Tensor& head() const override { return head_; }
  int64_t start_id() const override { return shape_.start; }
  int64_t cache_floats() const override { return 2 * shape_.decoder_layers * shape_.heads * shape_.head_dim; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  class Decoding : public Seq2SeqDecoding {
   public:
    Decoding(const T5Seq2Seq& model, Memory memory, std::vector<int64_t> samples)
        : model_(model), memory_(std::move(memory)), samples_(std::move(samples)), answers_(samples_) {}

    Tensor step(const Tensor& ids) override {
      const at::NoGradGuard no_grad;
      return model_.scaled(model_.decoder_.step(model_.embed(ids), cache_, answers_, memory_));
    }

    void keep(const std::vector<int64_t>& rows) override {
      const at::NoGradGuard no_grad;
      const Tensor index = at::tensor(rows, at::kLong);
      for (auto* part : {&cache_.k, &cache_.v})
        for (Tensor& cached : *part) cached = cached.index_select(0, index);
      keep_prompts(rows);
    }

   private:
    /// Prompts whose answers are all done are left out.
    void keep_prompts(const std::vector<int64_t>& rows) {
      std::vector<int64_t> prompts, samples;
      int64_t row = 0;
      auto at = rows.begin();
      for (size_t p = 0; p < samples_.size(); ++p) {
        row += samples_[p];
        const auto end = std::lower_bound(at, rows.end(), row);
        if (end != at) prompts.push_back(static_cast<int64_t>(p)), samples.push_back(end - at);
        at = end;
      }
      if (prompts.size() < samples_.size()) {
        const Tensor index = at::tensor(prompts, at::kLong);
        for (AttentionKeys& keys : memory_) {
          keys.k = keys.k.index_select(0, index), keys.v = keys.v.index_select(0, index);
          if (keys.beyond.defined()) keys.beyond = keys.beyond.index_select(0, index);
        }
      }
      samples_ = std::move(samples), answers_ = Segments(samples_);
    }

    const T5Seq2Seq& model_;
    Memory memory_;
    std::vector<int64_t> samples_;
    Segments answers_;
    T5Stack::Cache cache_;
  };

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
