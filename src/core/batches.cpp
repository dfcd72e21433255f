#include "rft/core/batches.h"

#include <algorithm>
#include <numeric>

namespace rft {

std::vector<std::vector<size_t>> batches_of_like_length(const std::vector<int64_t>& sizes, int64_t together,
                                                        bool longest_first) {
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return longest_first ? sizes[a] > sizes[b] : sizes[a] < sizes[b]; });
  std::vector<std::vector<size_t>> batches;
  int64_t tokens = 0;
  for (size_t i : order) {
    if (batches.empty() || tokens + sizes[i] > together) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(i);
    tokens += sizes[i];
  }
  return batches;
}

}  // namespace rft
