#pragma once
/// Pages of keys and values: lent to sequences, taken back when they end.
#include <algorithm>
#include <memory>
#include <vector>

#include "rft/ops/decode_attention.h"

namespace rft {

/// Memory is as large as the most pages ever lent at once.
class KvPool {
 public:
  explicit KvPool(const ops::KvLayout& layout) : layout_(layout) {}

  float* take() {
    if (free_.empty()) {
      // for_overwrite: positions that were never stored are computed with, but their results are never read.
      pages_.push_back(std::make_unique_for_overwrite<float[]>(static_cast<size_t>(layout_.page_floats())));
      free_.push_back(pages_.back().get());
    }
    float* page = free_.back();
    free_.pop_back();
    return page;
  }
  void give(float* page) { free_.push_back(page); }
  size_t pages() const { return pages_.size(); }

 private:
  ops::KvLayout layout_;
  std::vector<std::unique_ptr<float[]>> pages_;
  std::vector<float*> free_;
};

/// The keys and values of one run of positions.
class KvSequence {
 public:
  explicit KvSequence(KvPool& pool) : pool_(&pool) {}
  ~KvSequence() {
    for (float* page : pages_) pool_->give(page);
  }
  KvSequence(const KvSequence&) = delete;
  KvSequence& operator=(const KvSequence&) = delete;

  struct Place {
    float* page;
    int64_t slot;
  };
  /// Room for one more position.
  Place append() {
    const int64_t slot = length_++ % ops::kv_page;
    if (slot == 0) pages_.push_back(pool_->take());
    return {pages_.back(), slot};
  }
  int64_t length() const { return length_; }
  /// Adds its pages, as far as `positions` go, to what a tile attends to.
  void add_to(ops::AttentionTile& tile, int64_t positions) const {
    for (size_t i = 0; positions > 0; ++i, positions -= ops::kv_page) {
      tile.pages.push_back(pages_[i]);
      tile.counts.push_back(std::min(positions, ops::kv_page));
    }
  }

 private:
  KvPool* pool_;
  std::vector<float*> pages_;
  int64_t length_ = 0;
};

}  // namespace rft
