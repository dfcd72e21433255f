// outcome_conditioned: what is asked for, what an episode is worth, what hindsight says of it.
#include "rft/env/outcome_conditioned.h"

#include <algorithm>

#include "rft/core/registry.h"
#include "rft/env/classic.h"
#include "rft/env/hypergrid.h"
#include "support.h"

namespace rft::outcome_conditioned_test {
namespace {

/// A 3 x 3 grid, asked.
std::unique_ptr<Environment> grid(OutcomeConditioned::Options options) {
  return OutcomeConditioned(options).around(std::make_unique<Hypergrid>(Hypergrid::Options{.side = 3}));
}

struct Walk {
  std::unique_ptr<Environment> world;
  std::vector<double> observation = std::vector<double>(15), reward = {0};
  bool act(double choice) { return world->step({&choice, 1}, observation, reward); }
  std::vector<double> part(int64_t first, int64_t count) const {
    return {observation.begin() + first, observation.begin() + first + count};
  }
};

/// Restarts until `done` says that this is the episode it wants.
template <class Condition>
void start(Walk& walk, Condition done) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    walk.world->reset(seed, walk.observation);
    if (done()) return;
  }
  FAIL() << "no such episode among 1000";
}

TEST(OutcomeConditioned, ShowsWhatIsAskedForBeforeTheChoices) {
  Walk walk{grid({.asked = 1})};
  EXPECT_EQ(walk.world->spec().observation, 6 + 6 + 3);
  EXPECT_TRUE(walk.world->spec().action.masked);
  std::vector<double> corner{0, 0, 1, 0, 0, 1};
  start(walk, [&] { return walk.part(6, 6) == corner; });
  EXPECT_EQ(walk.part(0, 6), (std::vector<double>{1, 0, 0, 1, 0, 0}));
  walk.act(0), walk.act(0);
  EXPECT_EQ(walk.part(6, 6), corner);
  EXPECT_EQ(walk.part(12, 3), (std::vector<double>{0, 1, 1}));
}

TEST(OutcomeConditioned, AnEpisodeIsWorthOneWhereItMakesWhatWasAskedFor) {
  std::vector<double> asked{0, 1, 0, 1, 0, 0};
  for (bool own : {false, true}) {
    Walk walk{grid({.asked = 1, .own_reward = own})};
    double x[] = {1, 0}, worth = own ? Hypergrid({.side = 3}).reward_of(x) : 1;
    start(walk, [&] { return walk.part(6, 6) == asked; });
    EXPECT_FALSE(walk.act(0));
    EXPECT_EQ(walk.reward[0], 0);
    EXPECT_TRUE(walk.act(2));
    EXPECT_EQ(walk.reward[0], worth);
    start(walk, [&] { return walk.part(6, 6) == asked; });
    EXPECT_TRUE(walk.act(2));  // (0, 0) was not asked for
    EXPECT_EQ(walk.reward[0], 0);
    auto seen = dynamic_cast<Conditioned&>(*walk.world).hindsight();
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->first, 6);
    EXPECT_EQ(seen->outcome, (std::vector<double>{1, 0, 0, 1, 0, 0}));
    double origin[] = {0, 0};
    EXPECT_EQ(seen->reward, own ? Hypergrid({.side = 3}).reward_of(origin) : 1);
  }
}

TEST(OutcomeConditioned, AskedForNothingAnyObjectIsWorthTheSame) {
  Walk walk{grid({.asked = 0})};
  walk.world->reset(5, walk.observation);
  EXPECT_EQ(walk.part(6, 6), std::vector<double>(6, 0.0));
  walk.act(1);
  EXPECT_TRUE(walk.act(2));
  EXPECT_EQ(walk.reward[0], 1);
  EXPECT_FALSE(dynamic_cast<Conditioned&>(*walk.world).hindsight());
}

TEST(OutcomeConditioned, AsksInTheShareThatIsSaidForAllAlike) {
  Walk walk{grid({.asked = 0.5})};
  int64_t asked = 0, corner = 0, episodes = 3600;
  for (int64_t seed = 0; seed < episodes; ++seed) {
    walk.world->reset(static_cast<uint64_t>(seed), walk.observation);
    asked += walk.part(6, 6) != std::vector<double>(6, 0.0);
    corner += walk.part(6, 6) == std::vector<double>{0, 0, 1, 0, 0, 1};
  }
  EXPECT_NEAR(static_cast<double>(asked) / 3600, 0.5, 0.03);
  EXPECT_NEAR(static_cast<double>(corner) / 3600, 0.5 / 9, 0.015);
}

TEST(OutcomeConditioned, ItsStateGoesOnElsewhere) {
  Walk one{grid({.asked = 1})}, other{grid({.asked = 1})};
  one.world->reset(3, one.observation), other.world->reset(4, other.observation);
  one.act(0);
  other.world->set_state(one.world->state());
  one.act(1), other.act(1);
  EXPECT_EQ(one.observation, other.observation);
  EXPECT_EQ(one.act(2), other.act(2));
  EXPECT_EQ(one.reward, other.reward);
  EXPECT_EQ(one.world->state(), other.world->state());
  std::string message = testing::message_of<UserError>([&] { one.world->set_state({1, 2}); });
  EXPECT_NE(message.find("begins with the 6 numbers"), std::string::npos) << message;
}

TEST(OutcomeConditioned, NeedsAWorldThatMakesObjects) {
  std::string message = testing::message_of<UserError>(
      [] { OutcomeConditioned({}).around(std::make_unique<Pendulum>(Pendulum::Options{})); });
  EXPECT_NE(message.find("got 'pendulum'"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::outcome_conditioned_test
