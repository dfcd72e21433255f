#include "rft/rollout/row_cursor.h"

#include <algorithm>
#include <set>

#include "support.h"

namespace rft::row_cursor_test {
namespace {

TEST(RowCursor, HandsOutEveryRowOnceAnEpoch) {
  RowCursor cursor(10, true, 5);
  std::vector<int64_t> drawn;
  for (int64_t i : {4, 4, 4, 4, 4})
    for (int64_t row : cursor.next(i)) drawn.push_back(row);
  EXPECT_EQ(std::set<int64_t>(drawn.begin(), drawn.begin() + 10).size(), 10u);
  EXPECT_EQ(std::set<int64_t>(drawn.begin() + 10, drawn.end()).size(), 10u);
  EXPECT_FALSE(std::equal(drawn.begin(), drawn.begin() + 10, drawn.begin() + 10)) << "each epoch has its own order";
  EXPECT_DOUBLE_EQ(cursor.epoch(), 2.0);
}

TEST(RowCursor, GoesOnFromItsPositionAlone) {
  RowCursor whole(7, true, 9), first(7, true, 9), second(7, true, 9);
  auto all = whole.next(20);
  auto head = first.next(9);
  second.set_position(first.position());
  auto tail = second.next(11);
  head.insert(head.end(), tail.begin(), tail.end());
  EXPECT_EQ(all, head);
}

TEST(RowCursor, MixesPartsInTheirSharesAndGoesOnFromItsPositionAlone) {
  auto make = [] { return RowCursor({100, 5, 20}, {3, 1, 0.5}, true, 9); };
  RowCursor whole = make(), first = make(), second = make();
  auto all = whole.next(450);
  for (size_t n : {9u, 45u, 450u}) {
    std::vector<double> counts(3);
    for (size_t i = 0; i < n; ++i) ++counts[all[i] < 100 ? 0 : all[i] < 105 ? 1 : 2];
    EXPECT_NEAR(counts[0], static_cast<double>(n) * 3 / 4.5, 1.0);
    EXPECT_NEAR(counts[1], static_cast<double>(n) / 4.5, 1.0);
  }
  std::vector<int64_t> small;
  for (int64_t row : all)
    if (row >= 100 && row < 105) small.push_back(row);
  for (size_t epoch = 0; epoch + 5 <= small.size(); epoch += 5)
    EXPECT_EQ(
        std::set<int64_t>(small.begin() + static_cast<int64_t>(epoch), small.begin() + static_cast<int64_t>(epoch) + 5)
            .size(),
        5u);
  auto head = first.next(200);
  second.set_position(first.position());
  auto tail = second.next(250);
  head.insert(head.end(), tail.begin(), tail.end());
  EXPECT_EQ(all, head);
}

TEST(RowCursor, KeepsTheFilesOrderWhereAsked) {
  RowCursor cursor(3, false, 1);
  EXPECT_EQ(cursor.next(5), (std::vector<int64_t>{0, 1, 2, 0, 1}));
}

}  // namespace
}  // namespace rft::row_cursor_test
