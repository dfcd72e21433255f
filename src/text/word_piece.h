#pragma once
/// WordPiece (Schuster & Nakajima 2012, as BERT has it): a word's longest known beginning, then the longest known
/// continuation, and so on.
#include "text/model.h"

namespace rft::text {

/// Immutable after construction.
class WordPiece : public Model {
 public:
  /// Of tokenizer.json's `model`. Throws UserError.
  explicit WordPiece(const Spec& spec);
  /// A word that can't be spelled, or is too long, is one unknown token.
  void encode(std::string_view piece, std::vector<int64_t>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  std::string prefix_;
  int64_t unknown_, longest_;
  size_t longest_token_ = 0;  ///< bytes
};

}  // namespace rft::text
