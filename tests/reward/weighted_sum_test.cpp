#include "rft/reward/weighted_sum.h"

#include <ATen/ATen.h>

#include <cmath>
#include <stdexcept>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/reward/function_reward.h"
#include "support.h"

namespace rft::weighted_sum_test {
namespace {

/// A reward with state; counts its calls.
class Counting : public RewardModel {
 public:
  struct Options {
    bool wrong_shape = false;
    void visit(OptionVisitor& v) { v.option("wrong_shape", wrong_shape, "gives one value for all rows"); }
  };
  explicit Counting(Options options) : options_(options) {}
  Rewards score(const Experience& batch) override {
    count_ += 1;
    Rewards out;
    out.value = at::full({options_.wrong_shape ? 1 : batch.rows()}, count_);
    return out;
  }
  std::vector<std::string> columns() const override { return {"hint"}; }
  State state() const override { return {{"count", at::tensor(count_)}}; }
  void load_state(const State& state) override { count_ = state.at("count").item<double>(); }

 private:
  Options options_;
  double count_ = 0;
};

class WeightedSumTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    register_builtins();
    registry<RewardModel>().add<Counting>("test_counting", "counts calls", "tests");
    add_reward("test_fails_on_x", "fails on x", [](const Completion& row) {
      if (row.completion == "x") throw std::runtime_error("x it is");
      return 3.0;
    });
  }

  static WeightedSum sum(const std::string& list) {
    WeightedSum::Options options;
    const Config blocks = Config::parse(list);
    for (const auto& [key, block] : blocks.items()) options.rewards.push_back(block);
    return WeightedSum(options);
  }
  static Experience rows(const std::vector<std::string>& completions) {
    Experience batch;
    batch.context.set_text(extra::completion, completions);
    batch.context.set_text(extra::prompt, completions);
    batch.context.set_text("answer", std::vector<std::string>(completions.size(), "4"));
    return batch;
  }
  static std::vector<std::string> names(const Rewards& rewards) {
    std::vector<std::string> out;
    for (const auto& component : rewards.components) out.push_back(component.name);
    return out;
  }
};

TEST_F(WeightedSumTest, AddsWeightedRewardsAndKeepsThemApart) {
  auto rewards = sum("[{type: math_answer, weight: 2}, {type: regex, pattern: '^#', weight: -0.5, name: hashes}]")
                     .score(rows({"#### 4", "4", "#### 5"}));
  EXPECT_TRUE(rewards.value.allclose(at::tensor({1.5F, 2.0F, -0.5F}))) << rewards.value;
  EXPECT_EQ(names(rewards), (std::vector<std::string>{"math_answer", "hashes"}));
  EXPECT_TRUE(rewards.components[1].value.equal(at::tensor({1.0F, 0.0F, 1.0F})));
  EXPECT_EQ(rewards.components[0].weight, 2);
  EXPECT_EQ(rewards.components[1].weight, -0.5);
}

TEST_F(WeightedSumTest, NamesAreMadeUnique) {
  const std::string same = "{type: regex, pattern: a}";
  auto rewards =
      sum("[" + same + ", " + same + ", {type: regex, pattern: b, name: regex_2}, " + same + "]").score(rows({"a"}));
  auto got = names(rewards);
  EXPECT_EQ(got, (std::vector<std::string>{"regex", "regex_2", "regex_2_2", "regex_3"}));
}

TEST_F(WeightedSumTest, ARewardThatFailsIsLeftOutOfTheSum) {
  auto rewards = sum("[{type: test_fails_on_x}, {type: regex, pattern: x, name: has_x}]").score(rows({"x", "y"}));
  EXPECT_TRUE(rewards.value.equal(at::tensor({1.0F, 3.0F}))) << rewards.value;
  EXPECT_TRUE(std::isnan(rewards.components[0].value[0].item<float>()));
  EXPECT_EQ(rewards.errors, (std::vector<std::string>{"test_fails_on_x: x it is", ""}));
}

TEST_F(WeightedSumTest, ARowThatNoRewardCouldScoreIsNaN) {
  auto rewards = sum("[{type: test_fails_on_x}, {type: test_fails_on_x, weight: 0}]").score(rows({"x", "y"}));
  EXPECT_TRUE(std::isnan(rewards.value[0].item<float>()));
  EXPECT_EQ(rewards.value[1].item<float>(), 3);
  EXPECT_EQ(rewards.errors.at(0), "test_fails_on_x: x it is; test_fails_on_x_2: x it is");
}

TEST_F(WeightedSumTest, ARewardThatThrowsFailsForAllItsRows) {
  // length in tokens, and there are none
  auto rewards = sum("[{type: length, form: linear}, {type: regex, pattern: x}]").score(rows({"x", "y"}));
  EXPECT_TRUE(rewards.value.equal(at::tensor({1.0F, 0.0F}))) << rewards.value;
  EXPECT_TRUE(rewards.components[0].value.isnan().all().item<bool>());
  for (const auto& error : rewards.errors) EXPECT_NE(error.find("length: "), std::string::npos) << error;
}

TEST_F(WeightedSumTest, ARewardOfTheWrongShapeFails) {
  auto rewards = sum("[{type: test_counting, wrong_shape: true}]").score(rows({"x", "y"}));
  EXPECT_TRUE(rewards.value.isnan().all().item<bool>());
  EXPECT_NE(rewards.errors.at(1).find("one value a row"), std::string::npos) << rewards.errors[1];
}

TEST_F(WeightedSumTest, PassesColumnsAndStateOfItsParts) {
  const std::string list = "[{type: test_counting}, {type: math_answer}, {type: test_counting}]";
  WeightedSum first = sum(list);
  EXPECT_EQ(first.columns(), (std::vector<std::string>{"hint", "answer", "hint"}));
  first.score(rows({"1"}));
  State state = first.state();
  EXPECT_EQ(state.size(), 2U);
  EXPECT_TRUE(state.count("test_counting_2.count"));
  WeightedSum second = sum(list);
  second.load_state(state);
  EXPECT_EQ(second.score(rows({"1"})).value.item<float>(), 4);  // both count 2
}

TEST_F(WeightedSumTest, RefusesWhatItCannotUse) {
  auto message = [](const std::string& list) { return testing::message_of([&] { sum(list); }); };
  EXPECT_NE(message("[]").find("empty"), std::string::npos);
  EXPECT_NE(message("[{type: regx, pattern: a}]").find("regex"), std::string::npos);
  EXPECT_NE(message("[{type: regex, pattern: a, wieght: 2}]").find("weight"), std::string::npos);
  EXPECT_NE(message("[{type: regex, pattern: a, weight: .inf}]").find("finite"), std::string::npos);
  EXPECT_NE(message("[{type: regex, pattern: a, name: 'a,b'}]").find("commas"), std::string::npos);
}

TEST_F(WeightedSumTest, AHarmonicMeanIsOfPositiveRewards) {
  Config block = Config::parse(
      "{rewards: [{type: length, form: linear, unit: characters, weight: 0.25}, {type: length, form: linear, unit: "
      "characters, scale: 2, name: half, weight: 0.75}, {type: test_fails_on_x, weight: 0}], mean: harmonic}");
  WeightedSum sum(read_options<WeightedSum::Options>(block));
  Rewards got = sum.score(rows({"four", "x", ""}));
  EXPECT_NEAR(got.value[0].item<double>(), 1 / (0.25 / 4 + 0.75 / 2), 1e-6);
  EXPECT_NEAR(got.value[1].item<double>(), 1 / (0.25 / 1 + 0.75 / 0.5), 1e-6) << "what weighs nothing may fail";
  EXPECT_TRUE(std::isnan(got.value[2].item<double>()));
  EXPECT_NE(got.errors[2].find("above 0"), std::string::npos) << got.errors[2];
}

/// A reward of each decision: its column's number, NaN in the rows that `lost` names.
class OfDecisions : public RewardModel {
 public:
  struct Options {
    int64_t lost = -1;
    void visit(OptionVisitor& v) { v.option("lost", lost, "a row that can't be judged"); }
  };
  explicit OfDecisions(Options options) : options_(options) {}
  Rewards score(const Experience& batch) override {
    Rewards out;
    out.value = at::arange(1, batch.mask.size(1) + 1).to(at::kFloat).expand(batch.mask.sizes()).clone();
    if (options_.lost >= 0) out.value[options_.lost].fill_(std::nan(""));
    return out;
  }

 private:
  Options options_;
};

TEST(WeightedSumOfDecisions, PutsRewardsOfRowsAtTheirLastDecision) {
  registry<RewardModel>().add<OfDecisions>("of_decisions", "", "");
  Experience batch;
  batch.mask = at::tensor({1, 0, 1, 0, 1, 1, 1, 0}).to(at::kBool).view({2, 4});
  batch.context.set_text(extra::completion, {"four", "no"});
  auto sum = [&](const std::string& more, const std::string& mean) {
    return WeightedSum(read_options<WeightedSum::Options>(Config::parse(
                           "{mean: " + mean + ", rewards: [{type: length, form: linear, weight: 10, scale: 1}, " +
                           "{type: of_decisions, weight: 2" + more + "}]}")))
        .score(batch);
  };
  Rewards got = sum("", "arithmetic");
  float first = 10 * got.components[0].value[0].item<float>(), second = 10 * got.components[0].value[1].item<float>();
  EXPECT_TRUE(got.value.equal(at::tensor({2.f, 0.f, 6 + first, 0.f, 2.f, 4.f, 6 + second, 0.f}).view({2, 4})))
      << got.value;
  EXPECT_TRUE(got.components[1].value.equal(at::tensor({4.f, 6.f})));
  Rewards lost = sum(", lost: 1", "arithmetic");
  EXPECT_TRUE(std::isnan(lost.components[1].value[1].item<float>()));
  EXPECT_EQ(lost.value[1].sum().item<float>(), second) << "what could be computed stays";
  Rewards least = sum("", "worst_case");
  EXPECT_TRUE(least.value.isnan().all().item<bool>());
  EXPECT_NE(least.errors[0].find("of_decisions"), std::string::npos);
}

}  // namespace
}  // namespace rft::weighted_sum_test
