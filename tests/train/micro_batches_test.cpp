// Which rows are in memory together.
#include "train/micro_batches.h"

#include <ATen/ATen.h>

#include "support.h"

namespace rft::micro_batches_test {
namespace {

using Parts = std::vector<std::vector<int64_t>>;

Parts parts_of(int64_t rows, const MicroBatchOptions& options) {
  Parts out;
  for (const Tensor& part : micro_batches(rows, options))
    out.emplace_back(part.const_data_ptr<int64_t>(), part.const_data_ptr<int64_t>() + part.numel());
  return out;
}

TEST(MicroBatches, RowsKeepTheirOrderAndPairsAndGroupsStayTogether) {
  EXPECT_EQ(parts_of(5, {}), (Parts{{0, 1, 2, 3, 4}}));
  EXPECT_EQ(parts_of(5, {.rows = 2}), (Parts{{0, 1}, {2, 3}, {4}}));
  EXPECT_EQ(parts_of(6, {.rows = 2, .blocks = 2}), (Parts{{0, 1, 3, 4}, {2, 5}}));
  EXPECT_EQ(parts_of(6, {.rows = 3, .group = 2}), (Parts{{0, 1}, {2, 3}, {4, 5}}));
  EXPECT_EQ(parts_of(6, {.rows = 1, .group = 3}), (Parts{{0, 1, 2}, {3, 4, 5}}));
  EXPECT_EQ(parts_of(6, {.processes = 2}), (Parts{{0, 1, 2}, {3, 4, 5}}));
}

TEST(MicroBatches, OfSoManyTokensHoldRowsOfSimilarLength) {
  const Tensor lengths = at::tensor({3, 9, 2, 4, 12, 1}, at::kLong);
  // 12 is above the limit and alone; 9 has room for no other but the next in length, 4, which is too long beside it.
  EXPECT_EQ(parts_of(6, {.tokens = 10, .row_tokens = lengths}), (Parts{{4}, {1}, {3, 0, 2, 5}}));
  EXPECT_EQ(parts_of(6, {.tokens = 100, .row_tokens = lengths}), (Parts{{4, 1, 3, 0, 2, 5}}));
  EXPECT_EQ(parts_of(6, {.tokens = 1, .row_tokens = lengths}).size(), 6u);
  EXPECT_EQ(parts_of(6, {.tokens = 14, .blocks = 2, .row_tokens = lengths}), (Parts{{1, 4}, {0, 2, 3, 5}}));
  EXPECT_EQ(parts_of(6, {.tokens = 100, .processes = 3, .row_tokens = lengths}), (Parts{{4, 1}, {3, 0}, {2, 5}}));
}

TEST(MicroBatches, WhatIsLeftEmptyIsCounted) {
  const Tensor lengths = at::tensor({3, 9, 2, 4, 12, 1}, at::kLong);
  Packing one, packed;
  one.add(micro_batches(6, {}), lengths);
  EXPECT_EQ(one.packs, 1);
  EXPECT_NEAR(one.padding(), 1 - 31.0 / 72, 1e-12);
  packed.add(micro_batches(6, {.tokens = 10, .row_tokens = lengths}), lengths);
  EXPECT_EQ(packed.rows, 6);
  EXPECT_EQ(packed.packs, 3);
  EXPECT_EQ(packed.tokens, 31);
  EXPECT_NEAR(packed.padding(), 1 - 31.0 / 37, 1e-12);
}

}  // namespace
}  // namespace rft::micro_batches_test
