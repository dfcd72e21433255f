#include "rft/core/experience.h"

#include <ATen/ATen.h>

#include "rft/core/metrics.h"
#include "rft/core/rng.h"
#include "rft/core/text.h"
#include "support.h"

namespace rft::experience_test {
namespace {

Experience sample(int64_t rows, int64_t steps) {
  Experience e;
  e.context.set("prompt", at::arange(rows, at::kLong));
  std::vector<std::string> names;
  for (int64_t i = 0; i < rows; ++i) names.push_back("row " + std::to_string(i));
  e.context.set_text("name", names);
  e.action = at::arange(rows * steps, at::kLong).view({rows, steps});
  e.mask = at::ones({rows, steps}, at::kBool);
  e.reward = at::arange(rows, at::kFloat);
  e.fill_totals();
  return e;
}

TEST(Experience, SelectTakesRowsOfEveryColumnAndKeepsTotals) {
  Experience e = sample(4, 3), picked = e.select(at::tensor(std::vector<int64_t>{3, 1, 1}));
  EXPECT_EQ(picked.rows(), 3);
  EXPECT_EQ(picked.context.text("name"), (std::vector<std::string>{"row 3", "row 1", "row 1"}));
  EXPECT_EQ(picked.reward[0].item<float>(), 3);
  EXPECT_EQ(picked.action[1][0].item<int64_t>(), 3);
  EXPECT_EQ(picked.totals.rows, 4);
  EXPECT_EQ(picked.totals.tokens, 12);
}

TEST(Experience, ConcatPadsToTheLongestAndAddsTotals) {
  Experience both = Experience::concat({sample(2, 3), sample(1, 5)});
  EXPECT_EQ(both.rows(), 3);
  EXPECT_EQ(both.steps(), 5);
  EXPECT_FALSE(both.mask[0][4].item<bool>());
  EXPECT_TRUE(both.mask[2][4].item<bool>());
  EXPECT_EQ(both.totals.tokens, 11);
  EXPECT_FALSE(both.logp.defined());
}

TEST(Fields, NamesWhatIsMissingAndWhatIsNear) {
  Fields f;
  f.set("logp", at::zeros({2}));
  EXPECT_NE(testing::message_of<RunError>([&] { f.tensor("lgop"); }).find("did you mean 'logp'?"), std::string::npos);
  EXPECT_FALSE(f.find("value").defined());
}

TEST(Metrics, AreWeightedMeansHoweverTheyAreSplit) {
  Metrics whole, left, right;
  whole.add("kl", 2.0, 3), whole.add("kl", 6.0, 1);
  left.add("kl", 2.0, 3), right.add("kl", 6.0, 1);
  left.merge(right);
  EXPECT_DOUBLE_EQ(left.mean("kl"), whole.mean("kl"));
  EXPECT_DOUBLE_EQ(left.mean("kl"), 3.0);
  left.add("nothing", 5.0, 0);
  EXPECT_FALSE(left.has("nothing"));
}

TEST(Rng, IsPhilox4x32WithTenRounds) {
  // Known answers of Random123 (Salmon et al. 2011): key and counter of all ones, and of zeros.
  auto zeros = Rng(0, 0).block(0);
  EXPECT_EQ(zeros, (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  auto ones = Rng(~uint64_t{0}, ~uint64_t{0}).block(~uint64_t{0});
  EXPECT_EQ(ones, (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Rng, UniformFillsTheUnitInterval) {
  Rng rng(7);
  double sum = 0, low = 1, high = 0;
  for (int i = 0; i < 20000; ++i) {
    double u = rng.uniform(i);
    sum += u, low = std::min(low, u), high = std::max(high, u);
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);
  EXPECT_GE(low, 0.0);
  EXPECT_LT(high, 1.0);
  std::array<int, 6> counts{};
  for (int i = 0; i < 60000; ++i) ++counts[rng.below(i, 6)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 500);
}

TEST(Text, NearestFindsTyposAndNothingElse) {
  EXPECT_EQ(nearest("clip_hgih", {"clip_low", "clip_high"}), "clip_high");
  EXPECT_EQ(nearest("quantum", {"clip_low", "clip_high"}), "");
}

}  // namespace
}  // namespace rft::experience_test
