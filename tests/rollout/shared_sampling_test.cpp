/// Processes that take a rollout's pieces as they come: the rows of one process, whoever makes them.
#include <ATen/ATen.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "rft/rollout/answer_lengths.h"
#include "rft/rollout/spread.h"
#include "riddles.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft {
namespace {

using testing::Riddles;
using testing::ThreadRanks;

const SampleRequest kRequest{4, 3, false, {}, 0};

void expect_same(const Experience& a, const Experience& b) {
  EXPECT_TRUE(a.action.equal(b.action));
  EXPECT_TRUE(a.mask.equal(b.mask));
  EXPECT_TRUE(a.group.equal(b.group));
  EXPECT_EQ(a.context.text(extra::completion), b.context.text(extra::completion));
}

TEST(SharedSampling, OneThatIsHeldUpLeavesTheRestToTheOther) {
  Experience contexts = Riddles::contexts(40), whole = Riddles().sample(contexts, kRequest);
  std::atomic<bool> free_one_is_done{false};
  std::array<std::atomic<int64_t>, 2> made{};
  ThreadRanks::run(2, [&](Communicator& processes) {
    Riddles policy;
    policy.one_at_a_time = true;
    const auto me = static_cast<size_t>(processes.rank());
    policy.before_piece = [&](int64_t) {
      ++made[me];
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (me == 1 && !free_one_is_done && std::chrono::steady_clock::now() < until) {
        if (made[0] >= 9) free_one_is_done = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    };
    ScoringSpent spent;
    expect_same(sample_and_score_together({&processes}, policy, nullptr, contexts, kRequest, spent), whole);
  });
  EXPECT_EQ(made[0] + made[1], 10);
  EXPECT_LE(made[1], 1);
}

TEST(SharedSampling, WhatIsExpectedToTakeLongestIsBegunFirst) {
  Experience contexts = Riddles::contexts(16), whole = Riddles().sample(contexts, kRequest);
  ThreadRanks::run(1, [&](Communicator& processes) {
    Riddles policy;
    ScoringSpent spent;
    Sharing sharing{&processes};
    sharing.expected = {1, 1, 1, 2, 9, 0, 0, 0, 1, 1, 1, 2, 5, 5, 0, 0};  // sums 5, 9, 5, 10 of four contexts each
    expect_same(sample_and_score_together(sharing, policy, nullptr, contexts, kRequest, spent), whole);
    EXPECT_EQ(policy.began, (std::vector<int64_t>{12, 4, 0, 8}));
  });
}

TEST(SharedSampling, FixedSharesAreNeighbours) {
  Experience contexts = Riddles::contexts(16), whole = Riddles().sample(contexts, kRequest);
  ThreadRanks::run(2, [&](Communicator& processes) {
    Riddles policy;
    ScoringSpent spent;
    expect_same(sample_and_score_together({&processes, /*fixed=*/true}, policy, nullptr, contexts, kRequest, spent),
                whole);
    EXPECT_TRUE(policy.began.empty()) << "the whole share at once";
  });
}

TEST(AnswerLengths, AreTheLastOnesOfEachContext) {
  AnswerLengths lengths(4);
  EXPECT_EQ(lengths.expected(at::arange(4, at::kLong)), (std::vector<double>{0, 0, 0, 0}));
  Experience batch;
  batch.mask = at::ones({4, 6}, at::kBool).tril(1);  // rows of 2, 3, 4, 5 decisions
  batch.extra.set(extra::row, at::tensor(std::vector<int64_t>{2, 2, 0, 0}));
  lengths.note(batch);
  EXPECT_EQ(lengths.expected(at::tensor(std::vector<int64_t>{0, 1, 2, 0})), (std::vector<double>{4.5, 3.5, 2.5, 4.5}));
  batch.extra.set(extra::row, at::tensor(std::vector<int64_t>{3, 3, 0, 0}));
  lengths.note(batch.narrow(0, 2));
  EXPECT_EQ(lengths.expected(at::tensor(std::vector<int64_t>{3})), (std::vector<double>{2.5}));
}

}  // namespace
}  // namespace rft
