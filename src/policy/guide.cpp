#include "policy/guide.h"

#include <algorithm>
#include <limits>

#include "rft/core/error.h"

namespace rft {

GuideModel::GuideModel(const Guide& guide, int64_t vocab) : guide_(guide), model_(*guide.decoder), vocab_(vocab) {
  if (model_.vocab() != vocab)
    bad_input("sampler", "the guide has a vocabulary of ", model_.vocab(), " tokens, the model one of ", vocab);
}

float* GuideModel::twin(const float* page) {
  auto& own = twins_[page];
  // for_overwrite: positions that were never stored are computed with, but their results are never read.
  if (!own) own = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(model_.kv_layout().page_floats()));
  return own.get();
}

const float* GuideModel::beside(const float* logits, const DecodeBatch& batch) {
  DecodeBatch own = batch;
  for (float*& page : own.pages) page = twin(page);
  for (ops::AttentionTile& tile : own.tiles)
    for (const float*& page : tile.pages) page = twin(page);
  const float* guide = model_.forward(own);
  const size_t rows = batch.outputs.size(), width = static_cast<size_t>(vocab_);
  logits_.resize(2 * width * rows);
  for (size_t i = 0; i < rows; ++i) {
    float* out = logits_.data() + 2 * width * i;
    std::copy_n(logits + width * i, width, out);
    mix(logits + width * i, guide + width * i, out + width);
  }
  return logits_.data();
}

/// [V]: logits of p^(1 - share) q^share, p the model's and q the guide's probabilities, of the tokens that q's nucleus
/// holds.
void GuideModel::mix(const float* own, const float* guide, float* out) const {
  const auto share = static_cast<float>(guide_.share);
  for (int64_t v = 0; v < vocab_; ++v) out[v] = (1 - share) * own[v] + share * guide[v];
  if (guide_.top_p >= 1) return;
  std::vector<int64_t> kept = ops::kept_tokens(guide, vocab_, {.top_p = guide_.top_p}, {});
  int64_t next = 0;
  for (int64_t id : kept) {
    std::fill(out + next, out + id, -std::numeric_limits<float>::infinity());
    next = id + 1;
  }
  std::fill(out + next, out + vocab_, -std::numeric_limits<float>::infinity());
}

ops::SampledToken reported(const ops::SampledToken& drawn, const ops::SampledToken& own, const float* logits,
                           double temperature) {
  if (drawn.id < 0) return drawn;
  const double scale = temperature > 0 ? 1 / temperature : 1;
  return {drawn.id, static_cast<float>(own.logp + scale * (logits[drawn.id] - logits[own.id])), own.entropy};
}

}  // namespace rft
