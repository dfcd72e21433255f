#include "text/trainer.h"

#include <queue>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

namespace rft::text {
namespace {

struct PairHash {
  size_t operator()(const Pair& p) const {
    return (uint64_t{static_cast<uint32_t>(p.first)} << 32 | static_cast<uint32_t>(p.second)) * 0x9E3779B97F4A7C15ull >>
           16;
  }
};

/// Counts of all pairs, kept true while pairs are joined.
class PairCounts {
 public:
  explicit PairCounts(std::vector<Word> words) : words_(std::move(words)) {
    for (size_t w = 0; w < words_.size(); ++w) count_word(w, 1);
    for (const auto& [pair, count] : counts_) queue_.push({count, pair});
  }

  /// The most frequent pair; false where none is left.
  bool best(Pair& out) {
    while (!queue_.empty()) {
      Entry top = queue_.top();
      int64_t now = counts_[top.pair];
      if (now == top.count && now > 0) return out = top.pair, true;
      queue_.pop();
      if (now > 0 && now < top.count) queue_.push({now, top.pair});
    }
    return false;
  }

  void join(Pair pair, int32_t id) {
    auto where = std::move(where_[pair]);
    where_.erase(pair);
    changed_.clear();
    for (size_t w : where) {
      count_word(w, -1);
      join_in(words_[w].symbols, pair, id);
      count_word(w, 1);
    }
    for (const Pair& p : changed_) queue_.push({counts_[p], p});
  }

 private:
  struct Entry {
    int64_t count;
    Pair pair;
    bool operator<(const Entry& other) const { return std::tie(count, other.pair) < std::tie(other.count, pair); }
  };

  void count_word(size_t w, int sign) {
    const auto& symbols = words_[w].symbols;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      Pair pair{symbols[i], symbols[i + 1]};
      counts_[pair] += sign * words_[w].count;
      if (sign > 0) where_[pair].insert(w), changed_.insert(pair);
    }
  }

  static void join_in(std::vector<int32_t>& symbols, Pair pair, int32_t id) {
    size_t kept = 0;
    for (size_t i = 0; i < symbols.size(); ++i) {
      bool here = i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second;
      symbols[kept++] = here ? id : symbols[i];
      i += here;
    }
    symbols.resize(kept);
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, int64_t, PairHash> counts_;
  std::unordered_map<Pair, std::unordered_set<size_t>, PairHash> where_;
  std::unordered_set<Pair, PairHash> changed_;
  std::priority_queue<Entry> queue_;
};

}  // namespace

std::vector<Pair> learn_merges(std::vector<Word> words, std::vector<std::string>& vocabulary, size_t size) {
  std::unordered_map<std::string, int32_t> ids;
  for (const auto& token : vocabulary) ids.emplace(token, static_cast<int32_t>(ids.size()));
  PairCounts counts(std::move(words));
  std::vector<Pair> merges;
  Pair pair;
  while (vocabulary.size() < size && counts.best(pair)) {
    std::string text = vocabulary[pair.first] + vocabulary[pair.second];
    auto [entry, made] = ids.try_emplace(text, static_cast<int32_t>(vocabulary.size()));
    if (made) vocabulary.push_back(text);
    counts.join(pair, entry->second);
    merges.push_back(pair);
  }
  return merges;
}

}  // namespace rft::text
