// Replay: a ring of decisions, drawn from by seed, that goes on after a stop as if there had been none.
#include "rft/rollout/replay.h"

#include <ATen/ATen.h>

#include <set>

#include "rft/core/extra.h"
#include "support.h"

namespace rft::replay_test {
namespace {

/// Decisions numbered `first`, `first` + 1, ...
Experience numbered(int64_t first, int64_t count) {
  Experience out;
  Tensor number = at::arange(first, first + count, at::kFloat).unsqueeze(1);
  out.context.set(extra::observation, number.unsqueeze(2).repeat({1, 1, 3}));
  out.action = number.unsqueeze(2).neg(), out.reward = number, out.mask = at::ones({count, 1}, at::kBool);
  out.group = at::arange(count);
  out.extra.set(extra::terminated, number.eq(3));
  return out;
}

std::set<int64_t> held(const Replay& replay) {
  Experience drawn = replay.draw(1000, 5);
  std::set<int64_t> out;
  for (int64_t i = 0; i < 1000; ++i) out.insert(drawn.reward[i][0].item<int64_t>());
  return out;
}

TEST(Replay, TheOldestMakeRoom) {
  Replay replay(5);
  replay.add(numbered(0, 3));
  EXPECT_EQ(held(replay), (std::set<int64_t>{0, 1, 2}));
  replay.add(numbered(3, 4));
  EXPECT_EQ(replay.size(), 5);
  EXPECT_EQ(held(replay), (std::set<int64_t>{2, 3, 4, 5, 6}));
  replay.add(numbered(100, 12));  // more than fit
  EXPECT_EQ(held(replay), (std::set<int64_t>{107, 108, 109, 110, 111}));
}

TEST(Replay, ColumnsStayTogether) {
  Replay replay(8);
  replay.add(numbered(0, 7));
  Experience drawn = replay.draw(64, 1);
  EXPECT_EQ(drawn.rows(), 64);
  EXPECT_TRUE(drawn.action.squeeze(2).neg().equal(drawn.reward));
  EXPECT_TRUE(drawn.context.tensor(extra::observation).select(2, 2).equal(drawn.reward));
  EXPECT_TRUE(drawn.extra.tensor(extra::terminated).equal(drawn.reward.eq(3)));
  EXPECT_TRUE(replay.draw(64, 1).reward.equal(drawn.reward));
  EXPECT_FALSE(replay.draw(64, 2).reward.equal(drawn.reward));
}

TEST(Replay, GoesOnAfterAStop) {
  Replay one(5), other(5);
  one.add(numbered(0, 7));
  State saved = one.state();
  for (auto& [name, value] : saved) value = value.clone();
  other.load_state(saved);
  EXPECT_TRUE(one.draw(32, 9).reward.equal(other.draw(32, 9).reward));
  one.add(numbered(20, 3)), other.add(numbered(20, 3));
  EXPECT_TRUE(one.draw(32, 9).reward.equal(other.draw(32, 9).reward));
  Replay small(4);
  std::string message = testing::message_of<UserError>([&] { small.load_state(saved); });
  EXPECT_NE(message.find("capacity"), std::string::npos) << message;
}

TEST(Replay, NothingCanBeDrawnFromAnEmptyOneAndColumnsMustMatch) {
  Replay replay(5);
  EXPECT_THROW(replay.draw(1, 0), RunError);
  replay.add(numbered(0, 2));
  Experience other = numbered(0, 2);
  other.reward = Tensor();
  EXPECT_THROW(replay.add(other), RunError);
}

}  // namespace
}  // namespace rft::replay_test
