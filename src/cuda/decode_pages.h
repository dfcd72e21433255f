#pragma once
/// Which pages of the GPU's key/value cache are lent.
#include <algorithm>
#include <memory>
#include <vector>

namespace rft::cuda {

class PageList;

class PagePool {
 public:
  /// From now on there are `pages` of them.
  void grow(int64_t pages) {
    std::vector<int> added;
    for (int64_t p = pages; p > total_; --p) added.push_back(static_cast<int>(p - 1));
    free_.insert(free_.begin(), added.begin(), added.end());
    total_ = pages;
  }
  int64_t free() const { return static_cast<int64_t>(free_.size()); }
  int64_t total() const { return total_; }

 private:
  friend class PageList;
  std::vector<int> free_;
  int64_t total_ = 0;
};

/// Pages that go back to their pool, which must outlive it and have had so many free.
class PageList {
 public:
  PageList(PagePool& pool, int64_t count) : pool_(&pool) {
    for (int64_t i = 0; i < count; ++i) pages_.push_back(pool.free_.back()), pool.free_.pop_back();
  }
  ~PageList() { pool_->free_.insert(pool_->free_.end(), pages_.rbegin(), pages_.rend()); }
  PageList(const PageList&) = delete;
  PageList& operator=(const PageList&) = delete;
  const std::vector<int>& pages() const { return pages_; }

 private:
  PagePool* pool_;
  std::vector<int> pages_;
};

}  // namespace rft::cuda
