#pragma once
/// Bidirectional encoders of text: BERT (Devlin et al. 2018, arXiv:1810.04805), RoBERTa and XLM-RoBERTa, DistilBERT;
/// bare, or with transformers' head that classifies a text.
#include <memory>
#include <string>
#include <vector>

#include "rft/nn/weights.h"

namespace rft {

class SentenceEncoder {
 public:
  virtual ~SentenceEncoder() = default;
  /// ids [N, L] int64, padded on the right with any id; mask [N, L] bool, true where there is a token -> [N, L, D], the
  /// last layer's. Throws UserError where L or an id is more than the model takes.
  virtual Tensor hidden(const Tensor& ids, const Tensor& mask) const = 0;
  /// [N, labels]; only where there are labels().
  virtual Tensor logits(const Tensor& ids, const Tensor& mask) const = 0;
  virtual const std::vector<std::string>& labels() const = 0;  ///< empty: no head
  virtual int64_t max_length() const = 0;                      ///< the longest L
  virtual int64_t width() const = 0;                           ///< D
  virtual const Weights& weights() const = 0;
};

/// By `architectures`: Bert-, Roberta-, XLMRoberta- and DistilBert- with Model, ForMaskedLM (whose head is left out) or
/// ForSequenceClassification.
std::unique_ptr<SentenceEncoder> make_sentence_encoder(const std::string& config_json, const WeightSource& source,
                                                       const std::string& where);

}  // namespace rft
