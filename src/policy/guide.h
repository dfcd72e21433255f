#pragma once
/// A second model beside the one that samples, fed the same tokens.
#include <memory>
#include <unordered_map>
#include <vector>

#include "policy/decode_model.h"
#include "rft/ops/decode_sample.h"
#include "rft/policy/lm_sampler.h"

namespace rft {

/// Keeps keys and values of its own, a page for each page of the model that samples: whoever lends and takes back those
/// need not know of it. Used from one thread.
class GuideModel {
 public:
  /// Throws UserError where the guide's vocabulary is not `vocab` tokens.
  GuideModel(const Guide& guide, int64_t vocab);

  /// Of the logits [outputs, V] of `batch`, [outputs, 2V]: a row's own, and behind them those that are drawn from.
  const float* beside(const float* logits, const DecodeBatch& batch);
  /// Whether it says what may be drawn at all: what is drawn has the probability that is left to it then.
  bool masks() const { return guide_.top_p < 1; }

 private:
  float* twin(const float* page);
  void mix(const float* own, const float* guide, float* out) const;

  Guide guide_;
  DecodeModel model_;
  int64_t vocab_;
  std::unordered_map<const float*, std::unique_ptr<float[]>> twins_;
  std::vector<float> logits_;
};

/// What was `drawn` from other logits, reported under a row's own: `own` was drawn from these.
ops::SampledToken reported(const ops::SampledToken& drawn, const ops::SampledToken& own, const float* logits,
                           double temperature);

}  // namespace rft
