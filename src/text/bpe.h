#pragma once
/// Byte-pair encoding (Sennrich et al. 2016) with ranked merges.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "text/model.h"

namespace rft::text {

/// What joining two neighbours gives; the lower rank is joined first.
struct Merge {
  int32_t rank, id;
};

/// (left id, right id) to Merge: open addressing, at most half full.
class MergeTable {
 public:
  void reserve(size_t n);
  void set(int32_t left, int32_t right, Merge merge);
  /// Rank -1 where the pair is never joined.
  Merge find(int32_t left, int32_t right) const {
    uint64_t key = key_of(left, right);
    for (size_t at = slot(key); slots_[at].merge.rank >= 0; at = (at + 1) & mask_)
      if (slots_[at].key == key) return slots_[at].merge;
    return {-1, -1};
  }

 private:
  struct Slot {
    uint64_t key = 0;
    Merge merge{-1, -1};
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t slot(uint64_t key) const { return (key * 0x9E3779B97F4A7C15ull >> 32) & mask_; }

  std::vector<Slot> slots_ = std::vector<Slot>(2);
  size_t mask_ = 1;
};

/// Immutable after construction but for a cache of pieces; may be used from several threads.
class Bpe : public Model {
 public:
  /// Of tokenizer.json's `model`. Throws UserError.
  explicit Bpe(const Spec& spec);
  ~Bpe() override;

  void encode(std::string_view piece, std::vector<int64_t>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  void read_vocabulary(const Spec& spec);
  void read_merges(const Spec& spec);
  void add_merge(const Spec& spec, const std::string& left, const std::string& right, int32_t rank);
  std::vector<int32_t> symbols_of(std::string_view piece) const;
  void append_unknown(std::string_view character, std::vector<int32_t>& symbols, bool& pending) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  std::array<int32_t, 0x180> small_;  // ids of the characters below U+0180, which byte-level BPE is made of
  std::vector<int32_t> byte_tokens_;  // empty where unknown characters are not spelled in bytes
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false, ignore_merges_ = false;
  std::string prefix_, suffix_;

  struct Cache;
  std::unique_ptr<Cache> cache_;
};

}  // namespace rft::text
