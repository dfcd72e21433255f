#pragma once
/// Rewards on sequences of tokens of one length: extra::one_hot [B, L, V], whose gradient they pass on, else action
/// [B, L] int64.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/nn/token_denoiser.h"
#include "rft/reward/reward_model.h"
#include "rft/text/vocabulary.h"

namespace rft {

/// How often motifs occur in a sequence, overlaps and all: the sum over motifs and places of the product over the
/// motif's characters of the share that the token has there. Exact for tokens, and a polynomial in between.
class MotifReward : public RewardModel {
 public:
  struct Options {
    std::vector<std::string> motifs;
    std::string vocabulary;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the vocabulary can't be read, or has no token for a character.
  explicit MotifReward(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  static constexpr int64_t kAny = -1;
  Options options_;
  Vocabulary vocabulary_;
  std::vector<std::vector<int64_t>> motifs_;  ///< ids, kAny for "?"
};

/// What a sequence classifier or regressor says of a sequence (EsmForSequenceClassification); its vocabulary must be
/// the policy's.
class SequenceClassifierReward : public RewardModel {
 public:
  struct Options {
    std::string path, target, score = "value";
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory can't be read, or `target` and `score` don't go with its labels.
  explicit SequenceClassifierReward(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  Options options_;
  std::unique_ptr<SequenceClassifier> model_;
  int64_t label_ = 0;
};

}  // namespace rft
