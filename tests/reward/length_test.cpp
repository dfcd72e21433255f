#include "rft/reward/length.h"

#include <ATen/ATen.h>

#include "rft/core/extra.h"
#include "support.h"

namespace rft::length_test {
namespace {

Experience completions_of(const std::vector<int64_t>& lengths) {
  int64_t longest = 0;
  for (int64_t length : lengths) longest = std::max(longest, length);
  Experience batch;
  batch.mask = at::arange(longest).unsqueeze(0).lt(at::tensor(lengths, at::kLong).unsqueeze(1));
  batch.context.set_text(extra::completion, std::vector<std::string>(lengths.size(), "text"));
  return batch;
}

Tensor score(const LengthReward::Options& options, const Experience& batch) {
  return LengthReward(options).score(batch).value;
}

TEST(Length, SoftOverlongIsTrlsPunishment) {
  // trl.rewards.get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20)
  Tensor value = score({.max = 100, .cache = 20}, completions_of({0, 79, 80, 81, 90, 99, 100, 101, 500}));
  Tensor expected = at::tensor({0.0F, 0.0F, 0.0F, -0.05F, -0.5F, -0.95F, -1.0F, -1.0F, -1.0F});
  EXPECT_TRUE(value.allclose(expected, 1e-6, 1e-7)) << value;
}

TEST(Length, TargetFallsOffOnBothSides) {
  Tensor value = score({.form = "target", .target = 10, .scale = 5}, completions_of({0, 10, 15}));
  EXPECT_TRUE(value.allclose(at::tensor({-2.0F, 0.0F, -1.0F}))) << value;
}

TEST(Length, LinearCountsTokensThePolicyMade) {
  Experience batch = completions_of({4, 4});
  batch.mask[1][2].fill_(false);  // a tool's token in the middle
  Tensor value = score({.form = "linear", .scale = -2}, batch);
  EXPECT_TRUE(value.equal(at::tensor({-2.0F, -1.5F}))) << value;
}

TEST(Length, CharactersAreCodePointsAndNeedNoTokens) {
  Experience batch;
  batch.context.set_text(extra::completion, {"", "abc", "日本", "né"});
  Tensor value = score({.form = "linear", .unit = "characters"}, batch);
  EXPECT_TRUE(value.equal(at::tensor({0.0F, 3.0F, 2.0F, 2.0F}))) << value;
}

TEST(Length, WithoutTokensSaysWhatToDo) {
  Experience batch;
  batch.context.set_text(extra::completion, {"abc"});
  std::string message = testing::message_of<RunError>([&] { score({.form = "linear"}, batch); });
  EXPECT_NE(message.find("unit: characters"), std::string::npos) << message;
}

TEST(Length, RefusesOptionsThatAreMissingOrContradict) {
  auto message = [](const LengthReward::Options& options) {
    return testing::message_of([&] { LengthReward reward(options); });
  };
  EXPECT_NE(message({}).find("soft_overlong needs the option 'max'"), std::string::npos);
  EXPECT_NE(message({.max = 5}).find("needs the option 'cache'"), std::string::npos);
  EXPECT_NE(message({.max = 5, .cache = 6}).find("at most max 5; got 6"), std::string::npos);
  EXPECT_NE(message({.form = "target"}).find("needs the option 'target'"), std::string::npos);
  EXPECT_NE(message({.form = "linear", .scale = 0}).find("not 0; got 0"), std::string::npos);
}

}  // namespace
}  // namespace rft::length_test
