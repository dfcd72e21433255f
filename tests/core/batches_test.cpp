#include "rft/core/batches.h"

#include <gtest/gtest.h>

namespace rft::batches_test {
namespace {

using Batches = std::vector<std::vector<size_t>>;

TEST(Batches, RowsOfLikeLengthShareABatch) {
  EXPECT_EQ(batches_of_like_length({5, 2, 9, 2, 3}, 7), (Batches{{1, 3, 4}, {0}, {2}}));
  EXPECT_EQ(batches_of_like_length({5, 2, 9, 2, 3}, 7, /*longest_first=*/true), (Batches{{2}, {0}, {4, 1, 3}}));
  EXPECT_EQ(batches_of_like_length({}, 7), Batches{});
}

}  // namespace
}  // namespace rft::batches_test
