#pragma once
/// Rows of different lengths, divided into what is computed together.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rft {

/// Row numbers in batches of rows of like length, at most `together` tokens a batch (a longer row is alone), from the
/// shortest row to the longest or the other way round. `sizes`: each row's tokens.
std::vector<std::vector<size_t>> batches_of_like_length(const std::vector<int64_t>& sizes, int64_t together,
                                                        bool longest_first = false);

}  // namespace rft
