#include "rft/reward/function_reward.h"

#include <ATen/ATen.h>

#include <cmath>
#include <stdexcept>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "support.h"

namespace rft::function_reward_test {
namespace {

Experience three_rows() {
  Experience batch;
  batch.context.set_text(extra::prompt, {"p0", "p1", "p2"});
  batch.context.set_text(extra::completion, {"a", "bb", "ccc"});
  batch.context.set_text("answer", {"a", "b", "ccc"});
  batch.mask = at::tensor({1, 1, 1, 0, 0, 0}).view({3, 2}).to(at::kBool);
  return batch;
}

Rewards score(const std::string& name, const Experience& batch) {
  return registry<RewardModel>().make(Config::parse("{type: " + name + "}"))->score(batch);
}

TEST(FunctionReward, SeesPromptCompletionColumnsAndTokens) {
  std::vector<std::string> seen;
  add_reward("test_sees", "what a row holds", [&seen](const Completion& row) {
    seen.push_back(row.prompt + " " + row.completion + " " + row.column("answer"));
    return static_cast<double>(row.tokens()) + (row.completion == row.column("answer") ? 10 : 0);
  });
  auto rewards = score("test_sees", three_rows());
  EXPECT_EQ(seen, (std::vector<std::string>{"p0 a a", "p1 bb b", "p2 ccc ccc"}));
  EXPECT_TRUE(rewards.value.equal(at::tensor({12.0F, 1.0F, 10.0F}))) << rewards.value;
  ASSERT_EQ(rewards.components.size(), 1U);
  EXPECT_EQ(rewards.components[0].name, "test_sees");
}

TEST(FunctionReward, ACallThatThrowsIsThatRowsFailureOnly) {
  add_reward("test_throws", "throws on bb", [](const Completion& row) {
    if (row.completion == "bb") throw std::runtime_error("no bb");
    return 1.0;
  });
  auto rewards = score("test_throws", three_rows());
  EXPECT_EQ(rewards.value[0].item<float>(), 1);
  EXPECT_TRUE(std::isnan(rewards.value[1].item<float>()));
  EXPECT_EQ(rewards.value[2].item<float>(), 1);
  EXPECT_EQ(rewards.errors, (std::vector<std::string>{"", "no bb", ""}));
}

TEST(FunctionReward, AMissingColumnIsNamed) {
  add_reward("test_column", "reads a column", [](const Completion& row) { return std::stod(row.column("anwser")); });
  auto rewards = score("test_column", three_rows());
  EXPECT_TRUE(rewards.value.isnan().all().item<bool>());
  EXPECT_NE(rewards.errors.at(0).find("anwser"), std::string::npos) << rewards.errors[0];
}

TEST(FunctionReward, ANumberThatIsNotFiniteIsAFailureWithAMessage) {
  add_reward("test_nan", "not a number", [](const Completion&) { return std::nan(""); });
  auto rewards = score("test_nan", three_rows());
  EXPECT_TRUE(rewards.value.isnan().all().item<bool>());
  EXPECT_EQ(rewards.errors.at(2), "the reward must be a finite number; got nan");
  add_reward("test_infinite", "too much", [](const Completion&) { return 1e300; });
  EXPECT_TRUE(score("test_infinite", three_rows()).value.isnan().all().item<bool>());
}

TEST(FunctionReward, HasNoOptions) {
  add_reward("test_plain", "one", [](const Completion&) { return 1.0; });
  std::string message =
      testing::message_of([] { registry<RewardModel>().make(Config::parse("{type: test_plain, scale: 2}")); });
  EXPECT_NE(message.find("scale"), std::string::npos) << message;
  EXPECT_EQ(registry<RewardModel>().resolve(Config::parse("{type: test_plain}")).find("type")->text(), "test_plain");
}

TEST(FunctionReward, TheSameNameReplacesTheReward) {
  add_reward("test_again", "one", [](const Completion&) { return 1.0; });
  add_reward("test_again", "two", [](const Completion&) { return 2.0; });
  EXPECT_EQ(score("test_again", three_rows()).value[0].item<float>(), 2);
}

}  // namespace
}  // namespace rft::function_reward_test
