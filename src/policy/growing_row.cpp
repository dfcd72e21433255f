#include "policy/growing_row.h"

#include <algorithm>

#include "rft/core/rng.h"

namespace rft {

ops::TokenSampling token_sampling(const SamplerOptions& o, bool greedy) {
  return {greedy ? 0 : o.temperature, o.top_k, o.top_p, o.min_p, o.repetition_penalty};
}

GrowingRow::GrowingRow(const SamplerOptions& options, const Tokenizer* tokenizer, std::vector<int64_t> before,
                       uint64_t seed, int64_t number, SampledRow& row)
    : options_(&options), seed_(seed), stream_(static_cast<uint64_t>(options.first_row + number)), row_(&row) {
  if (tokenizer && !options.stop.empty()) text_decoder_.emplace(*tokenizer), known_ids_ = tokenizer->size();
  if (options.repetition_penalty != 1) seen_ = std::move(before);
  for (const std::string& stop : options.stop) longest_stop_ = std::max(longest_stop_, stop.size());
}

ops::SampledToken GrowingRow::draw(const float* logits, int64_t vocab, const ops::TokenSampling& sampling) const {
  return ops::sample_token(logits, vocab, sampling, seen_, Rng(seed_, stream_).uniform(row_->ids.size()));
}

void GrowingRow::accept(const ops::SampledToken& token) {
  row_->ids.push_back(token.id);
  row_->logp.push_back(token.logp);
  if (options_->entropy) row_->entropy.push_back(token.entropy);
  if (options_->repetition_penalty != 1) seen_.push_back(token.id);
  const std::vector<int64_t>& eos = options_->eos_ids;
  if (std::find(eos.begin(), eos.end(), token.id) != eos.end() || meets_stop_text(token.id)) {
    done_ = true;
  } else if (static_cast<int64_t>(row_->ids.size()) >= options_->max_new_tokens) {
    done_ = row_->truncated = true;
  }
}

bool GrowingRow::meets_stop_text(int64_t id) {
  if (!text_decoder_ || id >= known_ids_) return false;
  const std::string piece = text_decoder_->push(id);
  const size_t known = text_.size();
  const size_t from = known < longest_stop_ ? 0 : known - longest_stop_ + 1;
  text_ += piece;
  for (const std::string& stop : options_->stop) {
    if (text_.find(stop, from) == std::string::npos) continue;
    row_->stop = stop;
    return true;
  }
  return false;
}

}  // namespace rft
