/// Rows that have more tokens than are wanted.
#include "policy/row_length.h"

#include "support.h"

namespace rft::row_length_test {
namespace {

using TokenRow = CausalLm::TokenRow;
using Ids = std::vector<int64_t>;

/// What becomes of 1 2 3 | 4 5 6 7.
std::tuple<Fit, Ids, Ids> shortened(int64_t limit, const std::string& how, std::vector<bool> learned = {}) {
  TokenRow row{{1, 2, 3}, {4, 5, 6, 7}, std::move(learned)};
  Fit fit = shorten(row, limit, how);
  if (!row.learned.empty()) EXPECT_EQ(row.learned.size(), row.completion.size());
  return {fit, row.prompt, row.completion};
}

TEST(RowLength, CutsTheEndOrTheBeginningOrNothing) {
  const Ids prompt{1, 2, 3}, completion{4, 5, 6, 7};
  for (std::string how : {"error", "drop", "keep_start", "keep_end"})
    EXPECT_EQ(shortened(7, how), std::tuple(Fit::whole, prompt, completion)) << how;
  for (std::string how : {"error", "drop"})
    EXPECT_EQ(shortened(6, how), std::tuple(Fit::too_long, prompt, completion)) << how;
  EXPECT_EQ(shortened(4, "keep_start"), std::tuple(Fit::cut, prompt, Ids{4}));
  EXPECT_EQ(shortened(3, "keep_start"), std::tuple(Fit::too_long, prompt, completion));
  EXPECT_EQ(shortened(5, "keep_end"), std::tuple(Fit::cut, Ids{3}, completion));
  EXPECT_EQ(shortened(4, "keep_end"), std::tuple(Fit::too_long, prompt, completion));
}

TEST(RowLength, KeepsSomethingToLearn) {
  EXPECT_EQ(std::get<0>(shortened(5, "keep_start", {false, true, false, true})), Fit::cut);
  EXPECT_EQ(std::get<0>(shortened(4, "keep_start", {false, true, false, true})), Fit::too_long);
}

TEST(RowLength, CutsAPromptThatIsToBeAnswered) {
  for (auto [how, left] : {std::pair("keep_start", Ids{1, 2}), std::pair("keep_end", Ids{2, 3})}) {
    TokenRow row{{1, 2, 3}, {}};
    EXPECT_EQ(shorten(row, 2, how), Fit::cut);
    EXPECT_EQ(row.prompt, left);
    EXPECT_EQ(shorten(row, 0, how), Fit::too_long);
  }
}

TEST(RowLength, PromptAndAnswerApartKeepWhatFramesThePrompt) {
  auto apart = [](int64_t limit, const std::string& how) {
    TokenRow row{{0, 5, 6, 7, 2}, {8, 9, 1}};
    const Fit fit = shorten_apart(row, limit, how, [](int64_t id) { return id < 3; });
    return std::tuple(fit, row.prompt, row.completion);
  };
  const Ids prompt{0, 5, 6, 7, 2}, answer{8, 9, 1};
  for (std::string how : {"error", "drop", "keep_start", "keep_end"})
    EXPECT_EQ(apart(5, how), std::tuple(Fit::whole, prompt, answer)) << how;
  for (std::string how : {"error", "drop"}) EXPECT_EQ(apart(4, how), std::tuple(Fit::too_long, prompt, answer)) << how;
  EXPECT_EQ(apart(4, "keep_start"), std::tuple(Fit::cut, (Ids{0, 5, 6, 2}), answer));
  EXPECT_EQ(apart(4, "keep_end"), std::tuple(Fit::cut, (Ids{0, 6, 7, 2}), answer));
  EXPECT_EQ(apart(2, "keep_start"), std::tuple(Fit::cut, (Ids{0, 5}), (Ids{8, 9})));
  EXPECT_EQ(apart(2, "keep_end"), std::tuple(Fit::too_long, prompt, answer));
}

}  // namespace
}  // namespace rft::row_length_test
