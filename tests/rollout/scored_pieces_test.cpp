/// Rewards beside the sampler: the same numbers, errors and rows as after it.
#include "rollout/scored_pieces.h"

#include <ATen/ATen.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "rft/rollout/reward_columns.h"
#include "riddles.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft::scored_pieces_test {
namespace {

using testing::Riddles;
using testing::ThreadRanks;

/// A tenth of the number, NaN with a message where it ends in 3; or of each decision where `decisions`.
class Tenth : public RewardModel {
 public:
  Rewards score(const Experience& batch) override {
    ++calls;
    thread = std::this_thread::get_id();
    Rewards out;
    const auto& texts = batch.context.text(extra::completion);
    std::vector<float> values;
    for (const std::string& text : texts) {
      out.errors.push_back(text.back() == '3' ? "'" + text + "' ends in 3" : "");
      values.push_back(text.back() == '3' ? NAN : std::stof(text) / 10);
      if (text == breaks_on) throw std::runtime_error("broken by " + text);
    }
    out.value = at::tensor(values);
    out.components = {{"tenth", out.value, 0.5}, {"half", out.value.mul(0.5), 2}};
    if (decisions) out.value = batch.action.to(at::kFloat).div(10);
    return out;
  }
  bool per_row() const override { return single; }

  bool single = true, decisions = false;
  std::string breaks_on;
  std::atomic<int64_t> calls{0};
  std::thread::id thread;
};

void expect_same(const Experience& a, const Experience& b) {
  EXPECT_TRUE(a.action.equal(b.action));
  EXPECT_TRUE(a.mask.equal(b.mask));
  EXPECT_TRUE(a.group.equal(b.group));
  EXPECT_TRUE(a.context.tensor("number").equal(b.context.tensor("number")));
  EXPECT_EQ(a.context.text(extra::completion), b.context.text(extra::completion));
}

void expect_same(const Rewards& a, const Rewards& b) {
  EXPECT_TRUE(at::allclose(a.value, b.value, 0, 0, /*equal_nan=*/true));
  EXPECT_EQ(a.value.sizes(), b.value.sizes());
  EXPECT_EQ(a.errors, b.errors);
  ASSERT_EQ(a.components.size(), b.components.size());
  for (size_t k = 0; k < a.components.size(); ++k) {
    EXPECT_EQ(a.components[k].name, b.components[k].name);
    EXPECT_EQ(a.components[k].weight, b.components[k].weight);
    EXPECT_TRUE(at::allclose(a.components[k].value, b.components[k].value, 0, 0, /*equal_nan=*/true));
  }
}

TEST(ScoredPieces, APieceIsAContextOrHasFourAnswers) {
  for (auto [contexts, group, count] : std::vector<std::array<int64_t, 3>>{
           {1, 4, 1}, {7, 4, 7}, {8, 2, 4}, {9, 2, 4}, {3, 1, 1}, {33, 1, 8}, {5, 100, 5}}) {
    auto pieces = pieces_of(contexts, group);
    EXPECT_EQ(static_cast<int64_t>(pieces.size()), count);
    int64_t at = 0;
    for (const Piece& piece : pieces) {
      EXPECT_EQ(piece.first, at);
      EXPECT_TRUE(pieces.size() == 1 || piece.count * group >= 4);
      at += piece.count;
    }
    EXPECT_EQ(at, contexts);
  }
}

TEST(ScoredPieces, TheSameRowsAndRewardsAsAfterSampling) {
  for (bool decisions : {false, true})
    for (int64_t count : {1, 5, 13, 40})
      for (int64_t group_size : {1, 4}) {
        Experience contexts = Riddles::contexts(count);
        SampleRequest request{group_size, 7, false, {}, 0};
        auto asked = [&](Communicator* processes) {
          Riddles policy;
          Tenth reward;
          reward.decisions = decisions;
          ScoringSpent spent;
          Experience whole = policy.sample(contexts, request);
          Rewards expected = reward.score(whole);
          reward.calls = 0;
          Experience rows = sample_and_score_together({processes}, policy, &reward, contexts, request, spent);
          EXPECT_TRUE(has_reward_columns(rows));
          expect_same(rewards_together(processes, reward, rows), expected);
          expect_same(rows, whole);
          EXPECT_FALSE(rows.reward.defined() || has_reward_columns(rows)) << "they leave with the rewards";
          if (!processes) {
            EXPECT_EQ(reward.calls, static_cast<int64_t>(pieces_of(count, group_size).size()));
            bool beside = reward.calls > 1;
            EXPECT_EQ(reward.thread != std::this_thread::get_id(), beside);
          }
        };
        asked(nullptr);
        for (int64_t size : {2, 3}) ThreadRanks::run(size, [&](Communicator& processes) { asked(&processes); });
      }
}

/// The sampler waits for the reward here, which it never would after it.
TEST(ScoredPieces, TheFirstAreScoredWhileTheLastAreSampled) {
  Riddles policy;
  Tenth reward;
  policy.before_piece = [&](int64_t finished) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (reward.calls < finished && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_GE(reward.calls, finished);
  };
  ScoringSpent spent;
  sample_and_score_together({}, policy, &reward, Riddles::contexts(12), {4, 1, false, {}, 0}, spent);
  EXPECT_EQ(reward.calls, 12);
  EXPECT_GT(spent.beside, 0);
}

TEST(ScoredPieces, WhatARewardThrowsReachesWhoAsked) {
  Riddles policy;
  Tenth reward;
  Experience contexts = Riddles::contexts(12);
  SampleRequest request{4, 1, false, {}, 0};
  reward.breaks_on = policy.sample(contexts, request).context.text(extra::completion)[17];
  ScoringSpent spent;
  EXPECT_EQ(testing::message_of<std::runtime_error>(
                [&] { sample_and_score_together({}, policy, &reward, contexts, request, spent); }),
            "broken by " + reward.breaks_on);
  policy.before_piece = [](int64_t) { throw RunError("no more"); };  // nor does a sampler that fails leave a thread
  EXPECT_EQ(
      testing::message_of<RunError>([&] { sample_and_score_together({}, policy, &reward, contexts, request, spent); }),
      "no more");
}

TEST(ScoredPieces, ARewardWithTooFewValuesIsNamed) {
  class Short : public Tenth {
    Rewards score(const Experience& batch) override {
      Rewards out = Tenth::score(batch);
      if (batch.context.tensor("number")[0].item<int64_t>() == 4) out.value = out.value.narrow(0, 0, 3);
      return out;
    }
  };
  Riddles policy;
  Short reward;
  ScoringSpent spent;
  EXPECT_EQ(testing::message_of<RunError>([&] {
              sample_and_score_together({}, policy, &reward, Riddles::contexts(12), {4, 1, false, {}, 0}, spent);
            }),
            "[reward] 'the combined reward' must give one value a row, 4 in all; got 3");
}

TEST(ScoredPieces, RewardsOfWholeBatchesSeeWholeBatches) {
  Riddles policy;
  Tenth reward;
  reward.single = false;
  ScoringSpent spent;
  Experience rows = sample_and_score_together({}, policy, &reward, Riddles::contexts(12), {4, 1, false, {}, 0}, spent);
  EXPECT_EQ(reward.calls, 0);
  EXPECT_FALSE(has_reward_columns(rows));
  rewards_together(nullptr, reward, rows);
  EXPECT_EQ(reward.calls, 1);
  EXPECT_EQ(reward.thread, std::this_thread::get_id());
}

}  // namespace
}  // namespace rft::scored_pieces_test
