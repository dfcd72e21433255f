/// A rollout among processes: the rows of one process, and about as much to do for each.
#include <ATen/ATen.h>

#include "rft/rollout/answer_lengths.h"
#include "rft/rollout/spread.h"
#include "riddles.h"
#include "rollout/own_answers.h"
#include "rollout/scored_pieces.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft::shared_sampling_test {
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

TEST(SharedSampling, TheRowsAreThoseOfOneProcess) {
  Experience contexts = Riddles::contexts(13), whole = Riddles().sample(contexts, kRequest);
  for (int64_t size : {1, 2, 5, 20})
    for (bool known : {false, true})
      ThreadRanks::run(size, [&](Communicator& processes) {
        Riddles policy;
        ScoringSpent spent;
        Sharing sharing{&processes};
        if (known) sharing.expected = {1, 5, 0, 9, 9, 2, 3, 8, 1, 1, 1, 1, 7};
        expect_same(sample_and_score_together(sharing, policy, nullptr, contexts, kRequest, spent), whole);
      });
}

TEST(SharedSampling, EachHasAboutAsMuchToDo) {
  const auto pieces = pieces_of(8, 4);
  auto firsts = [&](const std::vector<double>& expected, int64_t rank, int64_t size) {
    std::vector<int64_t> out;
    for (const Piece& piece : pieces_of_process(pieces, expected, rank, size)) out.push_back(piece.first);
    return out;
  };
  EXPECT_EQ(firsts({}, 0, 1), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(firsts({}, 1, 3), (std::vector<int64_t>{1, 4, 7}));
  // 20 to one, 9 + 3 + 3 + 1 + 1 and then 1 + 1 + 1 to the other.
  const std::vector<double> expected{1, 1, 20, 3, 1, 9, 3, 1};
  EXPECT_EQ(firsts(expected, 0, 2), (std::vector<int64_t>{2}));
  EXPECT_EQ(firsts(expected, 1, 2), (std::vector<int64_t>{0, 1, 3, 4, 5, 6, 7}));
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
  AnswerLengths again(4);
  again.load_state(lengths.state());
  EXPECT_EQ(again.expected(at::arange(4, at::kLong)), lengths.expected(at::arange(4, at::kLong)));
}

}  // namespace
}  // namespace rft::shared_sampling_test
