#include "policy/growing_row.h"

#include <algorithm>
#include <limits>

#include "rft/core/error.h"
#include "rft/core/rng.h"

namespace rft {

ops::TokenSampling token_sampling(const SamplerOptions& o, bool greedy) {
  return {greedy ? 0 : o.temperature, o.top_k, o.top_p, o.min_p, o.repetition_penalty};
}

GrowingRow::GrowingRow(const SamplerOptions& options, const Tokenizer* tokenizer, std::vector<int64_t> before,
                       uint64_t seed, int64_t number, SampledRow& row)
    : options_(&options), seed_(seed), stream_(static_cast<uint64_t>(options.first_row + number)), row_(&row) {
  if (tokenizer && (!options.stop.empty() || options.pattern))
    text_decoder_.emplace(*tokenizer), known_ids_ = tokenizer->size();
  if (options.repetition_penalty != 1) seen_ = std::move(before);
  for (const std::string& stop : options.stop) longest_stop_ = std::max(longest_stop_, stop.size());
}

ops::SampledToken GrowingRow::draw(const float* logits, int64_t vocab, const ops::TokenSampling& sampling) const {
  if (options_->pattern) return draw_allowed(logits, vocab, sampling);
  return ops::sample_token(logits, vocab, sampling, seen_, Rng(seed_, stream_).uniform(row_->ids.size()));
}

/// A token that isn't allowed is taken out and another drawn with a new number, which is to draw of those that are
/// allowed; where filters count tokens, or many are refused, all are asked about first.
ops::SampledToken GrowingRow::draw_allowed(const float* logits, int64_t vocab,
                                           const ops::TokenSampling& sampling) const {
  constexpr int kTries = 32;
  const bool filters = sampling.temperature > 0 && (sampling.top_k > 0 || sampling.top_p < 1 || sampling.min_p > 0);
  std::vector<float> left(logits, logits + vocab);
  auto drawn = [&](int number) {
    const uint64_t seed = number ? mix(seed_, static_cast<uint64_t>(number)) : seed_;
    return ops::sample_token(left.data(), vocab, sampling, seen_, Rng(seed, stream_).uniform(row_->ids.size()));
  };
  const ops::SampledToken first = drawn(0);
  const double scale = sampling.temperature > 0 ? 1 / sampling.temperature : 1;
  const double log_sum = scale * logits[first.id] - first.logp;
  auto reported = [&](int64_t id) {  // under the model's own distribution, as ever
    return ops::SampledToken{id, static_cast<float>(scale * logits[id] - log_sum), first.entropy};
  };
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  int64_t id = first.id;
  for (int tries = 1; !filters && tries <= kTries && tries < vocab; ++tries) {
    if (allows(id)) return reported(id);
    left[static_cast<size_t>(id)] = kNone;
    id = drawn(tries).id;
  }
  bool any = false;
  for (int64_t i = 0; i < vocab; ++i) {
    float& logit = left[static_cast<size_t>(i)];
    if (logit != kNone && !allows(i)) logit = kNone;
    any |= logit != kNone;
  }
  return any ? reported(drawn(kTries + 1).id) : ops::SampledToken{-1};
}

/// A text that takes too long to match is none.
GrowingPattern::State GrowingRow::state_of(const std::string& text) const {
  try {
    return options_->pattern->of(text);
  } catch (const RunError&) {
    return {};
  }
}

bool GrowingRow::allows(int64_t id) const {
  const std::vector<int64_t>& eos = options_->eos_ids;
  if (std::find(eos.begin(), eos.end(), id) != eos.end())
    return text_decoder_->unfinished().empty() && state_of(text_).complete;
  if (id >= known_ids_) return false;
  StreamDecoder decoder = *text_decoder_;
  const std::string piece = decoder.push(id);
  if (piece.find("\xEF\xBF\xBD") != std::string::npos) return false;  // bytes that are no character
  if (!decoder.unfinished().empty()) return options_->pattern->goes_on(text_ + piece, decoder.unfinished());
  if (piece.empty()) return false;  // a special token
  const GrowingPattern::State state = state_of(text_ + piece);
  return state.open || state.complete;
}

void GrowingRow::accept(const ops::SampledToken& token) {
  if (token.id < 0) {
    done_ = row_->truncated = true;
    return;
  }
  row_->ids.push_back(token.id);
  row_->logp.push_back(token.logp);
  if (options_->entropy) row_->entropy.push_back(token.entropy);
  if (options_->repetition_penalty != 1) seen_.push_back(token.id);
  const std::vector<int64_t>& eos = options_->eos_ids;
  const size_t known = text_.size();
  grow_text(token.id);
  if (std::find(eos.begin(), eos.end(), token.id) != eos.end() || meets_stop_text(known)) {
    done_ = true;
  } else if (options_->pattern && text_decoder_->unfinished().empty() && !state_of(text_).open) {
    done_ = true;  // it is complete, and nothing can follow
  } else if (static_cast<int64_t>(row_->ids.size()) >= options_->max_new_tokens) {
    done_ = row_->truncated = true;
  }
}

void GrowingRow::grow_text(int64_t id) {
  if (text_decoder_ && id < known_ids_) text_ += text_decoder_->push(id);
}

/// Of the text, `known` bytes were looked at before.
bool GrowingRow::meets_stop_text(size_t known) {
  const size_t from = known < longest_stop_ ? 0 : known - longest_stop_ + 1;
  for (const std::string& stop : options_->stop) {
    if (text_.find(stop, from) == std::string::npos) continue;
    row_->stop = stop;
    return true;
  }
  return false;
}

}  // namespace rft
