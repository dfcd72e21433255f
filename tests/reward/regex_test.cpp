#include "rft/reward/regex.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>

#include "rft/core/extra.h"
#include "support.h"

namespace rft::regex_test {
namespace {

Rewards score(const RegexReward::Options& options, const std::vector<std::string>& completions) {
  Experience batch;
  batch.context.set_text(extra::completion, completions);
  return RegexReward(options).score(batch);
}

TEST(Regex, SearchesAnywhereOrMatchesAll) {
  auto search = score({.pattern = "\\d+ eggs"}, {"I have 3 eggs.", "3 eggs", "no eggs"});
  EXPECT_TRUE(search.value.equal(at::tensor({1.0F, 1.0F, 0.0F})));
  auto full = score({.pattern = "a|ab", .match = "full", .reward = 2, .otherwise = -1}, {"ab", "a", "abc", "xa", ""});
  EXPECT_TRUE(full.value.equal(at::tensor({2.0F, 2.0F, -1.0F, -1.0F, -1.0F}))) << full.value;
}

TEST(Regex, FullMatchesUpToTheVeryEnd) {
  EXPECT_EQ(score({.pattern = "ab", .match = "full"}, {"ab\n"}).value.item<float>(), 0);
  EXPECT_EQ(score({.pattern = "a # b", .match = "full"}, {"a # b"}).value.item<float>(), 1);
}

TEST(Regex, AFullPatternMayEndInAComment) {
  EXPECT_EQ(score({.pattern = "(?x) a b # two letters", .match = "full"}, {"ab"}).value.item<float>(), 1);
}

TEST(Regex, CharactersAreUnicode) {
  auto rewards = score({.pattern = "^.$"}, {"é", "日", "ab"});
  EXPECT_TRUE(rewards.value.equal(at::tensor({1.0F, 1.0F, 0.0F})));
}

TEST(Regex, AnInvalidPatternIsRefusedWithReasonAndOffset) {
  for (const std::string match : {"search", "full"}) {
    std::string message = testing::message_of([&] { RegexReward({.pattern = "ab(c", .match = match}); });
    EXPECT_NE(message.find("'ab(c' is no regular expression: missing closing parenthesis at character 4"),
              std::string::npos)
        << message;
  }
  std::string message = testing::message_of([] { RegexReward({.pattern = "a)(b", .match = "full"}); });
  EXPECT_NE(message.find("'a)(b' is no regular expression"), std::string::npos) << message;
}

TEST(Regex, ACatastrophicPatternCouldNotBeComputedAndIsQuick) {
  auto start = std::chrono::steady_clock::now();
  auto rewards = score({.pattern = "^(a+)+$"}, {std::string(40, 'a') + "b", "aaa"});
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took.count(), 5);
  EXPECT_TRUE(std::isnan(rewards.value[0].item<float>()));
  EXPECT_NE(rewards.errors.at(0).find("match limit exceeded"), std::string::npos) << rewards.errors[0];
  EXPECT_EQ(rewards.value[1].item<float>(), 1);
  EXPECT_EQ(rewards.errors.at(1), "");
}

TEST(Regex, AGroupRepeatedOverALongTextMatches) {
  EXPECT_EQ(score({.pattern = "^<think>(.|\\n)*</think>$"}, {"<think>" + std::string(50'000, 'a') + "</think>"})
                .value.item<float>(),
            1);
}

TEST(Regex, TextThatIsNotUtf8CouldNotBeComputed) {
  auto rewards = score({.pattern = "a"}, {"a\xff", std::string("\0a", 2)});
  EXPECT_TRUE(std::isnan(rewards.value[0].item<float>()));
  EXPECT_NE(rewards.errors.at(0), "");
  EXPECT_EQ(rewards.value[1].item<float>(), 1);
}

}  // namespace
}  // namespace rft::regex_test
