#include "rft/reward/routed.h"

#include <ATen/ATen.h>

#include <cmath>
#include <stdexcept>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/reward/function_reward.h"
#include "support.h"

namespace rft::routed_test {
namespace {

/// Counts the rows that it was given, over all calls.
class RowCounter : public RewardModel {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit RowCounter(Options) {}
  Rewards score(const Experience& batch) override {
    Rewards out;
    out.value = at::full({batch.rows()}, rows_ += static_cast<double>(batch.rows()));
    return out;
  }
  State state() const override { return {{"rows", at::tensor(rows_)}}; }
  void load_state(const State& state) override { rows_ = state.at("rows").item<double>(); }

 private:
  double rows_ = 0;
};

class RoutedTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    register_builtins();
    registry<RewardModel>().add<RowCounter>("test_row_counter", "counts rows", "tests");
    add_reward("test_routed_length", "the length", [](const Completion& row) {
      if (row.completion == "x") throw std::runtime_error("x it is");
      return static_cast<double>(row.completion.size());
    });
  }
  static Routed routed(const std::string& list) {
    Routed::Options options;
    options.column = "kind";
    const Config blocks = Config::parse(list);
    for (const auto& [key, block] : blocks.items()) options.rewards.push_back(block);
    return Routed(options);
  }
  static Experience rows(const std::vector<std::string>& completions, const std::vector<std::string>& kinds) {
    Experience batch;
    batch.context.set_text(extra::completion, completions);
    batch.context.set_text(extra::prompt, completions);
    batch.context.set_text("kind", kinds);
    return batch;
  }
};

TEST_F(RoutedTest, EachRowHasTheRewardThatItsColumnNames) {
  Routed reward = routed("[{for: sums, type: test_row_counter}, {for: words, type: test_routed_length}]");
  EXPECT_EQ(reward.columns(), std::vector<std::string>{"kind"});
  Rewards out =
      reward.score(rows({"1", "ab", "x", "2", "abc", "?"}, {"sums", "words", "words", "sums", "words", "word"}));
  const float* value = out.value.const_data_ptr<float>();
  EXPECT_EQ(value[0], 2);  // the counter saw two rows, its own
  EXPECT_EQ(value[3], 2);
  EXPECT_EQ(value[1], 2);
  EXPECT_EQ(value[4], 3);
  EXPECT_TRUE(std::isnan(value[2]));
  EXPECT_TRUE(std::isnan(value[5]));
  EXPECT_NE(out.errors[2].find("x it is"), std::string::npos);
  EXPECT_NE(out.errors[5].find("'word'"), std::string::npos);
  EXPECT_NE(out.errors[5].find("words"), std::string::npos);  // the nearest one
  EXPECT_EQ(out.errors[1], "");
  ASSERT_EQ(out.components.size(), 3U);
  EXPECT_EQ(out.components[2].name, "routed/words");
  EXPECT_EQ(out.components[2].value[4].item<float>(), 3);
  EXPECT_TRUE(out.components[2].value[0].isnan().item<bool>());
}

TEST_F(RoutedTest, PartsOfABatchHaveTheSameComponents) {
  Routed reward = routed("[{for: a, type: test_routed_length}, {for: b, type: test_routed_length}]");
  EXPECT_TRUE(reward.per_row());
  Rewards one = reward.score(rows({"1"}, {"a"})), other = reward.score(rows({"1"}, {"b"}));
  ASSERT_EQ(one.components.size(), other.components.size());
  for (size_t k = 0; k < one.components.size(); ++k) EXPECT_EQ(one.components[k].name, other.components[k].name);
}

TEST_F(RoutedTest, KeepsTheStateOfEach) {
  Routed reward = routed("[{for: a, type: test_row_counter}, {for: b, type: test_row_counter}]");
  EXPECT_FALSE(reward.per_row());
  reward.score(rows({"1", "2", "3"}, {"a", "b", "a"}));
  Routed again = routed("[{for: a, type: test_row_counter}, {for: b, type: test_row_counter}]");
  again.load_state(reward.state());
  Rewards out = again.score(rows({"1", "2"}, {"a", "b"}));
  EXPECT_EQ(out.value[0].item<float>(), 3);
  EXPECT_EQ(out.value[1].item<float>(), 2);
}

TEST_F(RoutedTest, RefusesTheSameNameTwice) {
  const std::string message =
      testing::message_of([] { routed("[{for: a, type: test_row_counter}, {for: a, type: test_routed_length}]"); });
  EXPECT_NE(message.find("'a' already"), std::string::npos) << message;
  EXPECT_NE(testing::message_of([] { routed("[{type: test_row_counter}]"); }).find("for"), std::string::npos);
}

}  // namespace
}  // namespace rft::routed_test
