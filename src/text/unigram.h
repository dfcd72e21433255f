#pragma once
/// The unigram language model of SentencePiece (Kudo 2018, arXiv:1804.10959): the segmentation whose tokens' scores
/// (log-probabilities) have the largest sum.
#include <unordered_map>

#include "text/model.h"

namespace rft::text {

/// Immutable after construction.
class Unigram : public Model {
 public:
  /// Of tokenizer.json's `model`. Throws UserError.
  explicit Unigram(const Spec& spec);
  void encode(std::string_view piece, std::vector<int64_t>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  /// A segmentation's last token that ends at some byte.
  struct Best {
    double score = 0;
    int64_t id = 0;
    size_t begin = 0;
    bool reached = false;
  };
  void add_token(const std::string& token, int32_t id);
  void offer(Best& place, double score, int64_t id, size_t begin) const;
  std::vector<Best> segment(std::string_view piece) const;
  void append(std::string_view token, std::vector<int64_t>& out) const;

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  std::unordered_map<uint64_t, uint32_t> next_;  // a trie: node << 8 | byte
  std::unordered_map<uint32_t, int32_t> ends_;   // node -> id
  uint32_t nodes_ = 1;
  int64_t unknown_ = -1;
  double unknown_score_ = 0;
  std::vector<int32_t> byte_tokens_;  // empty where unknown characters are not spelled in bytes
};

}  // namespace rft::text
