#pragma once
/// What predicts the masked tokens of a sequence from the others: bidirectional transformers with a language-model
/// head, and with a head that judges the whole sequence.
#include <memory>
#include <string>
#include <vector>

#include "rft/nn/weights.h"

namespace rft {

/// forward() keeps no state; not thread-safe while weights change.
class TokenDenoiser {
 public:
  virtual ~TokenDenoiser() = default;
  /// What the layers make of tokens [N, L] int64, or of distributions over tokens [N, L, V] (differentiable in them):
  /// [N, L, D], before the head.
  virtual Tensor features(const Tensor& tokens) const = 0;
  /// The head: features [..., D] -> logits [..., V].
  virtual Tensor logits(const Tensor& features) const = 0;

  virtual const Weights& weights() const = 0;
  /// config.json as read (or made), written back unchanged.
  virtual const std::string& config_json() const = 0;
  virtual int64_t vocab_size() const = 0;
  virtual int64_t mask_id() const = 0;
  virtual int64_t pad_id() const = 0;      ///< -1 where there is none
  virtual int64_t max_length() const = 0;  ///< the longest sequence, in tokens
};

/// By `architectures` of config.json: EsmForMaskedLM of transformers with rotary positions. Throws UserError naming
/// `where` for another one, and for every field whose value would change the computation in a way that is not
/// implemented.
std::unique_ptr<TokenDenoiser> make_token_denoiser(const std::string& config_json, const WeightSource& source,
                                                   const std::string& where);

/// The same layers under a head that gives one number a sequence (a regressor) or one a class.
class SequenceClassifier {
 public:
  virtual ~SequenceClassifier() = default;
  /// Logits [N, labels] of tokens [N, L] int64, or of distributions over tokens [N, L, V] (differentiable in them).
  virtual Tensor logits(const Tensor& tokens) const = 0;

  virtual const std::vector<std::string>& labels() const = 0;
  virtual const Weights& weights() const = 0;
  virtual const std::string& config_json() const = 0;
  virtual int64_t vocab_size() const = 0;
  virtual int64_t max_length() const = 0;
};

/// EsmForSequenceClassification of transformers with rotary positions. Throws UserError as make_token_denoiser.
std::unique_ptr<SequenceClassifier> make_sequence_classifier(const std::string& config_json, const WeightSource& source,
                                                             const std::string& where);

}  // namespace rft
