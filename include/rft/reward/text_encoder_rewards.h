#pragma once
/// Rewards by bidirectional encoders (BERT, RoBERTa, DistilBERT): what a classifier says of a text, and how alike two
/// texts are.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/nn/sentence_encoder.h"
#include "rft/reward/reward_model.h"
#include "rft/text/tokenizer.h"

namespace rft {

/// A directory's tokenizer and encoder: texts in, numbers out. Without gradients; may be used from several threads.
class TextEncoderModel {
 public:
  /// Reads a transformers directory, or one of sentence-transformers (modules.json: a Transformer, a Pooling, perhaps
  /// Normalize). Throws UserError where it holds neither, or a module that is not known.
  explicit TextEncoderModel(const std::string& directory);

  /// [N, D] float32, as sentence-transformers' encode(): longer texts are cut to its max_seq_length.
  Tensor embed(const std::vector<std::string>& texts) const;
  /// [N, labels] float32; NaN where a text is longer than the model takes.
  Tensor logits(const std::vector<std::string>& texts) const;
  const std::vector<std::string>& labels() const { return encoder_->labels(); }

 private:
  std::vector<int64_t> cut(const std::string& text) const;
  template <class Judge>
  Tensor batched(const std::vector<std::vector<int64_t>>& rows, const Judge& judge) const;
  Tensor pooled(const Tensor& ids, const Tensor& mask) const;

  Tokenizer tokenizer_;
  std::unique_ptr<SentenceEncoder> encoder_;
  std::string pooling_ = "mean";  ///< cls, mean or max
  bool normalize_ = false;
  int64_t longest_ = 0;  ///< ids of a text that is embedded
};

/// What a classifier (AutoModelForSequenceClassification of a bidirectional encoder) says of the completion, or of
/// prompt and completion as one text: a sentiment, how toxic it is. Texts longer than the model takes are NaN with a
/// message.
class TextClassifierReward : public RewardModel {
 public:
  struct Options {
    std::string path, label;
    std::string score = "probability";
    std::string text = "completion";
    void visit(OptionVisitor& v);
  };
  explicit TextClassifierReward(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  Options options_;
  TextEncoderModel model_;
  int64_t label_ = 0;
};

/// The cosine of the embeddings of the completion and of the row's `column`, in -1 .. 1 (Reimers & Gurevych 2019,
/// arXiv:1908.10084).
class TextSimilarity : public RewardModel {
 public:
  struct Options {
    std::string path;
    std::string column = "answer";
    void visit(OptionVisitor& v);
  };
  explicit TextSimilarity(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override { return {options_.column}; }

 private:
  Options options_;
  TextEncoderModel model_;
};

}  // namespace rft
