#pragma once
/// Learning merges from text.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rft::text {

/// A word as ids, and how often it occurs.
struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

using Pair = std::pair<int32_t, int32_t>;

/// Joins the most frequent pair (of equal ones that with the smaller ids) again and again, until `vocabulary`, which
/// the new tokens are appended to, holds `size` or no pair is left. Returns the pairs in order. A token's id is its
/// place.
std::vector<Pair> learn_merges(std::vector<Word> words, std::vector<std::string>& vocabulary, size_t size);

}  // namespace rft::text
