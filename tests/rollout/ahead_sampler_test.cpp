/// Rollouts sampled ahead: in order, by the weights that they were begun with, whatever happens meanwhile.
#include "rft/rollout/ahead_sampler.h"

#include <ATen/ATen.h>

#include <chrono>
#include <thread>

#include "rft/rollout/reward_columns.h"
#include "riddles.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft::ahead_sampler_test {
namespace {

using testing::Riddles;
using testing::ThreadRanks;

/// How long a completion is.
class Length : public RewardModel {
 public:
  Rewards score(const Experience& batch) override {
    Rewards out;
    out.value = batch.mask.sum(1).to(at::kFloat);
    out.components = {{"length", out.value, 1}};
    return out;
  }
  bool per_row() const override { return true; }
};

CollectOptions options() {
  CollectOptions out;
  out.group_size = 4, out.batch_size = 40;
  return out;
}

const Experience& data() {
  static const Experience contexts = Riddles::contexts(30);
  return contexts;
}

/// Contexts `first` .. `first` + 9, by a policy with `shift`.
void begin(AheadSampler& ahead, int64_t first, int64_t shift, std::function<void(int64_t)> before = {}) {
  auto sampler = std::make_shared<Riddles>();
  sampler->shift = shift, sampler->before_piece = std::move(before);
  Asked asked;
  for (int64_t i = first; i < first + 10; ++i) asked.rows.push_back(i);
  asked.seed = static_cast<uint64_t>(first);
  Questions questions = questions_of(asked, data(), options());
  ahead.begin(sampler, asked, std::move(questions), first / 10);
}

/// What such a policy answers when it is asked in place.
Experience answered(int64_t first, int64_t shift) {
  Riddles policy;
  policy.shift = shift;
  return policy.sample(data().select(at::arange(first, first + 10, at::kLong)),
                       {4, static_cast<uint64_t>(first), false, {}, 0});
}

void expect_rollout(AheadSampler::Rollout rollout, int64_t first, int64_t shift, bool rewarded = true) {
  Experience expected = answered(first, shift);
  Experience& rows = rollout.drawn.answers;
  EXPECT_EQ(rollout.step, first / 10);
  EXPECT_EQ(rollout.drawn.asked.rows.front(), first);
  EXPECT_EQ(rows.context.text(extra::completion), expected.context.text(extra::completion));
  EXPECT_TRUE(rows.action.equal(expected.action));
  EXPECT_TRUE(rows.group.equal(expected.group));
  ASSERT_EQ(has_reward_columns(rows), rewarded);
  if (rewarded) {
    Rewards rewards = take_reward_columns(rows);
    EXPECT_TRUE(rewards.value.equal(expected.mask.sum(1).to(at::kFloat)));
  }
}

TEST(AheadSampler, RolloutsComeInTheOrderInWhichTheyWereBegun) {
  auto drawn = [](Communicator* processes, bool rewarded) {
    Length length;
    AheadSampler ahead(rewarded ? &length : nullptr, processes);
    begin(ahead, 0, 0), begin(ahead, 10, 5);
    EXPECT_EQ(ahead.waiting(), 2);
    EXPECT_EQ(ahead.contexts(), 20);
    expect_rollout(ahead.take(), 0, 0, rewarded);
    begin(ahead, 20, 7);
    EXPECT_EQ(ahead.finish().size(), 2u);
    expect_rollout(ahead.take(), 10, 5, rewarded);
    expect_rollout(ahead.take(), 20, 7, rewarded);
    EXPECT_EQ(ahead.waiting(), 0);
  };
  for (bool rewarded : {true, false}) {
    drawn(nullptr, rewarded);
    for (int64_t size : {2, 3, 16})
      ThreadRanks::run(size, [&](Communicator& processes) { drawn(&processes, rewarded); });
  }
}

TEST(AheadSampler, WhatWasRestoredComesFirst) {
  Length length;
  AheadSampler before(&length, nullptr), after(&length, nullptr);
  begin(before, 0, 1), begin(before, 10, 2);
  for (const AheadSampler::Rollout* rollout : before.finish()) after.restore(*rollout);
  begin(after, 20, 3);
  for (int64_t k : {0, 1, 2}) expect_rollout(after.take(), 10 * k, k + 1);
}

TEST(AheadSampler, WhatFailsIsToldWhenItIsTaken) {
  Length length;
  AheadSampler ahead(&length, nullptr);
  begin(ahead, 0, 0, [](int64_t) { run_failed("sampler", "broke"); });
  begin(ahead, 10, 2);
  EXPECT_EQ(testing::message_of<RunError>([&] { ahead.take(); }), "[sampler] broke");
}

TEST(AheadSampler, NobodyWaitsForWhatIsNotTaken) {
  Length length;
  std::atomic<bool> begun{false}, leaving{false}, went_on{false};
  {
    AheadSampler ahead(&length, nullptr);
    begin(ahead, 0, 0, [&](int64_t piece) {
      begun = true;
      if (piece > 0) went_on = true;
      while (!leaving) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    });
    begin(ahead, 10, 0, [&](int64_t) { went_on = true; });
    while (!begun) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    leaving = true;
  }
  EXPECT_FALSE(went_on);
}

}  // namespace
}  // namespace rft::ahead_sampler_test
