#pragma once
/// What the families of encoder-decoder models have in common: how answers are judged and decoded, and one embedding
/// for both sides.
#include <memory>
#include <string>
#include <vector>

#include "nn/key_cache.h"
#include "rft/nn/seq2seq.h"

namespace rft {

class EncoderDecoder : public Seq2Seq {
 public:
  Tensor forward(const Seq2SeqRows& rows) const override;
  std::unique_ptr<Seq2SeqDecoding> decode(const Memory& memory, const std::vector<int64_t>& samples) const override;

  /// Tokens of answers -> [N, D], what the head reads. `tokens`: how many of them answer each prompt of `memory`.
  virtual Tensor judge(const Packed& answers, const Segments& tokens, const Memory& memory) const = 0;
  /// One more token of each row, ids [R] -> [R, D]. `rows`: how many of them answer each prompt.
  virtual Tensor step(const Tensor& ids, KeyCache& cache, const Segments& rows, const Memory& memory) const = 0;
};

/// "shared.weight" [vocabulary, width], which the `stacks` ("encoder", "decoder") read as their "embed_tokens"; a
/// directory may have it under one of these names alone. Throws UserError where one of them has embeddings of its own.
Tensor shared_embedding(const WeightSource& source, int64_t vocabulary, int64_t width,
                        const std::vector<std::string>& stacks, const std::string& where);

/// Throws UserError naming config.json's decoder_start_token_id where `start` is none of the vocabulary.
void check_start(int64_t start, int64_t vocabulary, const std::string& where);

}  // namespace rft
