#pragma once
/// A completion in the making: how its tokens are drawn, and which one is its last.
#include <optional>
#include <string>
#include <vector>

#include "rft/ops/decode_sample.h"
#include "rft/policy/lm_sampler.h"

namespace rft {

/// What ops::sample_token() needs to know of `options`.
ops::TokenSampling token_sampling(const SamplerOptions& options, bool greedy);

/// `options` and `row` must outlive it.
class GrowingRow {
 public:
  /// `tokenizer` is read for stop texts and patterns only, and may be null without them. `before` are tokens that the
  /// repetition penalty applies to from the start. `number`: the row's in its request; its draws are (seed, first_row +
  /// number)'s.
  GrowingRow(const SamplerOptions& options, const Tokenizer* tokenizer, std::vector<int64_t> before, uint64_t seed,
             int64_t number, SampledRow& row);

  /// The next token, of the model's logits [vocab]; may be called from any thread. Its id is -1 where the pattern
  /// allows none.
  ops::SampledToken draw(const float* logits, int64_t vocab, const ops::TokenSampling& sampling) const;
  void accept(const ops::SampledToken& token);
  void end() { done_ = true; }
  bool done() const { return done_; }
  const SampledRow& row() const { return *row_; }

 private:
  void grow_text(int64_t id);
  bool meets_stop_text(size_t known);
  GrowingPattern::State state_of(const std::string& text) const;
  /// Whether the text may go on with the token, or end with it.
  bool allows(int64_t id) const;
  ops::SampledToken draw_allowed(const float* logits, int64_t vocab, const ops::TokenSampling& sampling) const;

  const SamplerOptions* options_;
  std::vector<int64_t> seen_;  ///< for the repetition penalty
  uint64_t seed_;
  uint64_t stream_;
  SampledRow* row_;
  size_t longest_stop_ = 0;
  int64_t known_ids_ = 0;  ///< a model may have more than its tokenizer
  std::optional<StreamDecoder> text_decoder_;
  std::string text_;
  bool done_ = false;
};

}  // namespace rft
