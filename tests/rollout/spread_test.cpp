#include "rft/rollout/spread.h"

#include <ATen/ATen.h>

#include <atomic>
#include <cmath>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/dist/exchange.h"
#include "rft/reward/function_reward.h"
#include "rft/reward/weighted_sum.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft::spread_test {
namespace {

using testing::ThreadRanks;

/// Rows whose completions are "0", "1", ...
Experience answers(int64_t rows) {
  Experience out;
  std::vector<std::string> completions;
  for (int64_t i = 0; i < rows; ++i) completions.push_back(std::to_string(i));
  out.context.set_text(extra::prompt, std::vector<std::string>(completions.size()));
  out.context.set_text(extra::completion, std::move(completions));
  out.mask = at::ones({rows, 1}, at::kBool), out.action = at::zeros({rows, 1}, at::kLong);
  return out;
}

std::atomic<int64_t> scored{0};

/// 0.1 of the number, which fails on 3.
double tenth(const Completion& row) {
  ++scored;
  if (row.completion == "3") throw std::runtime_error("three");
  return std::stod(row.completion) / 10;
}

std::unique_ptr<RewardModel> rewards(const std::string& list) {
  static const bool added = [] {
    register_builtins();
    add_reward("test_tenth", "a tenth", tenth);
    auto count_rows = [](const Completion& row) {
      ++scored;
      return static_cast<double>(row.batch.rows());
    };
    add_reward("test_rows", "how many rows there are", count_rows, /*per_row=*/false);
    return true;
  }();
  EXPECT_TRUE(added);
  WeightedSum::Options options;
  const Config blocks = Config::parse("[" + list + "]");
  for (const auto& [key, block] : blocks.items()) options.rewards.push_back(block);
  return std::make_unique<WeightedSum>(options);
}

void expect_same(const Rewards& a, const Rewards& b) {
  EXPECT_TRUE(at::allclose(a.value, b.value, 0, 0, /*equal_nan=*/true));
  EXPECT_EQ(a.errors, b.errors);
  ASSERT_EQ(a.components.size(), b.components.size());
  for (size_t k = 0; k < a.components.size(); ++k) {
    EXPECT_EQ(a.components[k].name, b.components[k].name);
    EXPECT_EQ(a.components[k].weight, b.components[k].weight);
    EXPECT_TRUE(at::allclose(a.components[k].value, b.components[k].value, 0, 0, /*equal_nan=*/true));
  }
}

TEST(Spread, RewardsOfSingleRowsAreDividedAndTheSame) {
  const std::string two = "{type: test_tenth, weight: 0.3}, {type: length, form: linear, unit: characters}";
  for (int64_t rows : {1, 3, 8}) {
    Experience batch = answers(rows);
    Rewards whole = rewards(two)->score(batch);
    for (int64_t size : {1, 2, 3, 5}) {
      scored = 0;
      ThreadRanks::run(size, [&](Communicator& processes) {
        auto model = rewards(two);
        EXPECT_TRUE(model->per_row());
        expect_same(score_together(&processes, *model, batch), whole);
      });
      EXPECT_EQ(scored, rows) << "on " << size;  // each row once, over all of them
    }
  }
}

TEST(Spread, RewardsOfWholeBatchesAreComputedEverywhere) {
  const std::string mixed = "{type: test_tenth}, {type: test_rows}";
  Experience batch = answers(5);
  Rewards whole = rewards(mixed)->score(batch);
  scored = 0;
  ThreadRanks::run(2, [&](Communicator& processes) {
    auto model = rewards(mixed);
    EXPECT_FALSE(model->per_row());
    expect_same(score_together(&processes, *model, batch), whole);
  });
  EXPECT_EQ(scored, 2 * 2 * 5);
}

/// Two rows of decisions, one of them all that a process has.
TEST(Spread, RewardsOfDecisionsKeepTheirColumns) {
  class Steps : public RewardModel {
   public:
    Rewards score(const Experience& batch) override {
      Rewards out;
      out.value = batch.action.to(at::kFloat);
      out.components = {{"steps", out.value, 1}};
      return out;
    }
    bool per_row() const override { return true; }
  };
  Experience batch = answers(2);
  batch.action = at::arange(6, at::kLong).view({2, 3}), batch.mask = at::ones({2, 3}, at::kBool);
  ThreadRanks::run(3, [&](Communicator& processes) {
    Steps steps;
    Rewards all = score_together(&processes, steps, batch);
    EXPECT_TRUE(all.value.equal(batch.action.to(at::kFloat)));
    EXPECT_TRUE(all.components.at(0).value.equal(all.value));
  });
}

}  // namespace
}  // namespace rft::spread_test
