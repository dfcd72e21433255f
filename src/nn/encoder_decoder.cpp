#include "nn/encoder_decoder.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

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
  TORCH_CHECK(row == rows.answers.lengths.size(), "[Seq2Seq] the samples must sum to the number of answers");
  return out;
}

class CachedDecoding : public Seq2SeqDecoding {
 public:
  CachedDecoding(const EncoderDecoder& model, Seq2Seq::Memory memory, std::vector<int64_t> samples)
      : model_(model), memory_(std::move(memory)), samples_(std::move(samples)), answers_(samples_) {}

  Tensor step(const Tensor& ids) override {
    const at::NoGradGuard no_grad;
    return model_.step(ids, cache_, answers_, memory_);
  }

  void keep(const std::vector<int64_t>& rows) override {
    const at::NoGradGuard no_grad;
    cache_.keep(at::tensor(rows, at::kLong));
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

  const EncoderDecoder& model_;
  Seq2Seq::Memory memory_;
  std::vector<int64_t> samples_;
  Segments answers_;
  KeyCache cache_;
};

}  // namespace

Tensor EncoderDecoder::forward(const Seq2SeqRows& rows) const {
  TORCH_CHECK(rows.prompts.lengths.size() == rows.samples.size(), "[Seq2Seq] one number of samples a prompt");
  return judge(rows.answers, Segments(tokens_of(rows)), read(rows.prompts));
}

std::unique_ptr<Seq2SeqDecoding> EncoderDecoder::decode(const Memory& memory,
                                                        const std::vector<int64_t>& samples) const {
  return std::make_unique<CachedDecoding>(*this, memory, samples);
}

Tensor shared_embedding(const WeightSource& source, int64_t vocabulary, int64_t width,
                        const std::vector<std::string>& stacks, const std::string& where) {
  for (const std::string& stack : stacks) {
    const std::string name = stack + ".embed_tokens.weight";
    if (!source.has("shared.weight")) source.rename(name, "shared.weight");
    if (source.differ(name, "shared.weight"))
      bad_input(where, "'", name, "' must be the same as 'shared.weight'; embeddings of its own are not implemented");
    source.ignore(name);
  }
  return source.embedding("shared", vocabulary, width);
}

void check_start(int64_t start, int64_t vocabulary, const std::string& where) {
  if (start < 0 || start >= vocabulary)
    bad_input(where, "'decoder_start_token_id' must be in 0 .. ", vocabulary - 1, ", the decoder's first token; got ",
              start < 0 ? "none" : std::to_string(start));
}

}  // namespace rft
