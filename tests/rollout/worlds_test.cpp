// Worlds: what is recorded of episodes that end, run out of time, or break down; resuming; threads.
#include "rft/rollout/worlds.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/core/rng.h"
#include "rft/policy/mlp_actor.h"
#include "support.h"

namespace rft::worlds_test {
namespace {

/// Observes how many steps its episode has; pays that number; ends after `length` of them, or breaks down at `bad`.
class Counter : public Environment {
 public:
  Counter(int64_t length, int64_t limit, int64_t bad) : length_(length), bad_(bad) {
    spec_.name = "counter", spec_.observation = 1, spec_.max_steps = limit;
    spec_.action.low = {-1}, spec_.action.high = {1};
  }
  const EnvironmentSpec& spec() const override { return spec_; }
  void reset(uint64_t, std::span<double> observation) override { observation[0] = at_ = 0; }
  bool step(std::span<const double>, std::span<double> observation, std::span<double> reward) override {
    observation[0] = static_cast<double>(++at_), reward[0] = static_cast<double>(at_);
    if (at_ == bad_) run_failed("counter", "NaN at step ", at_);
    return at_ == length_;
  }
  std::vector<double> state() const override { return {static_cast<double>(at_)}; }
  void set_state(const std::vector<double>& state) override { at_ = static_cast<int64_t>(state.at(0)); }

 private:
  EnvironmentSpec spec_;
  int64_t length_, bad_, at_ = 0;
};

Worlds counters(const std::string& yaml, int64_t length, int64_t limit, int64_t bad = -1) {
  return Worlds([=] { return std::make_unique<Counter>(length, limit, bad); },
                read_options<WorldsOptions>(Config::parse(yaml)), 1);
}

std::unique_ptr<Actor> actor_in(const EnvironmentSpec& world) {
  Needs needs;
  needs.value = true;
  auto out = std::make_unique<GaussianActor>(GaussianActor::Options{});
  out->enter(world, needs, 3);
  // A critic that says something.
  for (auto& parameter : out->parameters())
    if (parameter.name == "critic.2.bias") parameter.value.detach().add_(1.5);
  return out;
}

std::vector<double> row(const Tensor& x, int64_t i) {
  Tensor r = x[i].to(at::kDouble).contiguous();
  return {r.data_ptr<double>(), r.data_ptr<double>() + r.numel()};
}

TEST(Worlds, SegmentsGoOnWhereTheLastOneStopped) {
  Worlds worlds = counters("{environments: 2, steps: 5}", /*length=*/3, /*limit=*/0);
  auto actor = actor_in(worlds.spec());
  Metrics metrics;
  Experience a = worlds.segments(*actor, 1, {.critic = true}, metrics),
             b = worlds.segments(*actor, 2, {.critic = true}, metrics);
  EXPECT_EQ(row(a.reward, 0), (std::vector<double>{1, 2, 3, 1, 2}));
  EXPECT_EQ(row(b.reward, 1), (std::vector<double>{3, 1, 2, 3, 1}));
  EXPECT_EQ(row(a.extra.tensor(extra::last), 0), (std::vector<double>{0, 0, 1, 0, 0}));
  EXPECT_TRUE(a.mask.all().item<bool>());
  // After an end there is nothing to come; before it, what the critic says of the next decision.
  Tensor value = a.extra.tensor(extra::old_value), next = a.extra.tensor(extra::next_value);
  EXPECT_EQ(next[0][2].item<float>(), 0);
  EXPECT_EQ(next[0][0].item<float>(), value[0][1].item<float>());
  // The segment stops in mid-episode: the critic's word of the observation that follows, which b begins with.
  EXPECT_NEAR(next[0][4].item<float>(), b.extra.tensor(extra::old_value)[0][0].item<float>(), 0.2);
  EXPECT_NE(next[0][4].item<float>(), 0);
  EXPECT_NEAR(metrics.mean("episode/return"), 6, 1e-9);
  EXPECT_NEAR(metrics.mean("episode/length"), 3, 1e-9);
}

TEST(Worlds, RunningOutOfTimeIsNotAnEnd) {
  Worlds worlds = counters("{environments: 1, steps: 6}", /*length=*/-1, /*limit=*/4);
  auto actor = actor_in(worlds.spec());
  Metrics metrics;
  Experience a = worlds.segments(*actor, 1, {.critic = true}, metrics);
  EXPECT_EQ(row(a.reward, 0), (std::vector<double>{1, 2, 3, 4, 1, 2}));
  EXPECT_EQ(row(a.extra.tensor(extra::last), 0), (std::vector<double>{0, 0, 0, 1, 0, 0}));
  EXPECT_NE(a.extra.tensor(extra::next_value)[0][3].item<float>(), 0);
  EXPECT_NE(a.extra.tensor(extra::next_value)[0][3].item<float>(),
            a.extra.tensor(extra::old_value)[0][4].item<float>());
}

TEST(Worlds, WhatBreaksDownIsDroppedAndCounted) {
  Worlds worlds = counters("{environments: 1, steps: 7}", /*length=*/-1, /*limit=*/3, /*bad=*/2);
  auto actor = actor_in(worlds.spec());
  Metrics metrics;
  Experience a = worlds.segments(*actor, 1, {.critic = true}, metrics);
  EXPECT_EQ(row(a.mask, 0), (std::vector<double>{0, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(metrics.mean("episode/failed"), 3);
  EXPECT_FALSE(metrics.has("episode/return"));

  Experience episodes = worlds.episodes(*actor, 2, 1, 1, {}, metrics);
  EXPECT_FALSE(episodes.mask.any().item<bool>());
  EXPECT_TRUE(episodes.reward.isnan().all().item<bool>());

  Worlds strict = counters("{environments: 1, steps: 7, stop_on_failure: true}", -1, 3, 2);
  std::string message = testing::message_of<RunError>([&] { strict.segments(*actor, 1, {.critic = true}, metrics); });
  EXPECT_NE(message.find("environment 0 broke down at step 2"), std::string::npos) << message;
}

TEST(Worlds, EpisodesOfAGroupHaveOneStart) {
  register_builtins();
  auto options = read_options<WorldsOptions>(Config::parse("{environments: 3}"));
  Worlds worlds([] { return registry<Environment>().make(Config::parse("{type: cart_pole}")); }, options, 1);
  auto actor = actor_in([] {
    EnvironmentSpec s;
    s.name = "x", s.observation = 4, s.action.low = {0}, s.action.high = {1};
    return s;
  }());
  Metrics metrics;
  Experience a = worlds.episodes(*actor, 2, 4, 9, {}, metrics);
  EXPECT_EQ(a.rows(), 8);
  Tensor first = a.context.tensor(extra::observation);
  EXPECT_EQ(row(a.group, 0).size(), 1u);
  EXPECT_TRUE(a.group.equal(at::tensor({0, 0, 0, 0, 1, 1, 1, 1}, at::kLong)));
  EXPECT_TRUE(a.extra.tensor(extra::last).sum(1).eq(1).all().item<bool>());
  // Rewards are 1 a step, and the last step is the last one with a decision.
  EXPECT_TRUE(a.reward.sum(1).eq(a.mask.sum(1)).all().item<bool>());
}

/// A 3 x 3 grid that asks for an object in every episode.
Worlds asking(const std::string& yaml) {
  register_builtins();
  auto make = [] {
    auto inner = registry<Environment>().make(Config::parse("{type: hypergrid, side: 3}"));
    return registry<EnvironmentWrapper>()
        .make(Config::parse("{type: outcome_conditioned, asked: 1}"))
        ->around(std::move(inner));
  };
  return Worlds(make, read_options<WorldsOptions>(Config::parse(yaml)), 1);
}

/// An actor whose choices depend on what it observes.
std::unique_ptr<Actor> heeding(const EnvironmentSpec& world) {
  Needs needs;
  needs.value = true;
  auto out = std::make_unique<CategoricalActor>(CategoricalActor::Options{});
  out->enter(world, needs, 3);
  at::manual_seed(1);
  for (auto& parameter : out->parameters())
    if (parameter.name.ends_with("weight")) parameter.value.detach().normal_();
  return out;
}

TEST(Worlds, HindsightRecordsEpisodesAsIfAskedForWhatTheyMade) {
  Worlds plain = asking("{environments: 4}"), told = asking("{environments: 4, hindsight: 1}");
  auto actor = heeding(plain.spec()), twin = heeding(plain.spec());
  Metrics metrics;
  Experience a = plain.episodes(*twin, 16, 1, 5, {.critic = true, .raw = true}, metrics);
  Metrics after;
  Experience b = told.episodes(*actor, 16, 1, 5, {.critic = true, .raw = true}, after);
  // It was done alike: what differs is what was asked for, what it is worth, and how likely it is found.
  EXPECT_TRUE(a.action.equal(b.action));
  EXPECT_EQ(metrics.mean("episode/return"), after.mean("episode/return"));
  EXPECT_LT(a.reward.sum().item<float>(), 16);
  EXPECT_TRUE(b.reward.sum(1).eq(1).all().item<bool>());
  EXPECT_FALSE(a.logp.allclose(b.logp));
  Tensor raw = b.extra.tensor(extra::raw_observation);
  for (int64_t i = 0; i < 16; ++i) {
    int64_t T = b.mask[i].sum().item<int64_t>();
    Tensor made = raw[i][T - 1].narrow(0, 0, 6);  // where it stood when it stopped
    EXPECT_TRUE(raw[i].narrow(0, 0, T).narrow(1, 6, 6).eq(made).all().item<bool>());
  }
  Needs judged;
  judged.value = true;
  at::NoGradGuard no_grad;
  Evaluation now = actor->evaluate(b, judged);
  EXPECT_TRUE(now.logp.masked_select(b.mask).allclose(b.logp.masked_select(b.mask), 0, 1e-5));
  EXPECT_TRUE(now.value.allclose(b.extra.tensor(extra::old_value), 0, 1e-5));
  // An evaluation tells the truth.
  Experience greedy = told.episodes(*actor, 16, 1, 5, {.greedy = true}, after);
  EXPECT_LT(greedy.reward.sum().item<float>(), 16);
}

TEST(Worlds, HindsightNeedsEpisodesThatWereAskedForSomething) {
  for (const char* yaml : {"{environments: 1, hindsight: 0.5}", "{environments: 1, hindsight: 0.5, steps: 4}"}) {
    std::string message = testing::message_of<UserError>([&] { counters(yaml, 3, 3); });
    EXPECT_NE(message.find("rollout.hindsight"), std::string::npos) << message;
  }
  std::string message = testing::message_of<UserError>([] { asking("{hindsight: 0.5, steps: 4}"); });
  EXPECT_NE(message.find("no rollout.steps"), std::string::npos) << message;
}

TEST(Worlds, AResumedOneGoesOnBitForBit) {
  register_builtins();
  auto make = [] {
    auto options = read_options<WorldsOptions>(Config::parse("{environments: 3, steps: 40, normalize_reward: true}"));
    return Worlds([] { return registry<Environment>().make(Config::parse("{type: pendulum}")); }, options, 5);
  };
  Worlds one = make(), other = make();
  auto actor = actor_in(one.spec()), twin = actor_in(one.spec());
  Metrics metrics;
  one.segments(*actor, 1, {.critic = true}, metrics);
  testing::TempDir dir;
  actor->save(dir.path()), twin->load(dir.path());
  other.load_state(one.state());
  at::set_num_threads(1);
  Experience a = one.segments(*actor, 2, {.critic = true}, metrics);
  at::set_num_threads(2);
  Experience b = other.segments(*twin, 2, {.critic = true}, metrics);
  EXPECT_TRUE(a.action.equal(b.action));
  EXPECT_TRUE(a.reward.equal(b.reward));
  EXPECT_TRUE(a.extra.tensor(extra::next_value).equal(b.extra.tensor(extra::next_value)));
  EXPECT_THROW(counters("{environments: 2, steps: 3}", 3, 0).load_state(one.state()), UserError);
}

TEST(Worlds, NormalisedRewardsHaveADeviationNearOne) {
  Worlds worlds = counters("{environments: 4, steps: 200, normalize_reward: true, reward_gamma: 0}", 5, 0);
  auto actor = actor_in(worlds.spec());
  Metrics metrics;
  worlds.segments(*actor, 1, {}, metrics);
  Experience later = worlds.segments(*actor, 2, {}, metrics);
  // Rewards 1 .. 5 have a deviation of sqrt(2); their mean is kept, as VecNormalize keeps it.
  EXPECT_NEAR(later.reward.std().item<double>(), 1, 0.02);
  EXPECT_NEAR(later.reward.mean().item<double>(), 3 / std::sqrt(2.0), 0.05);
  EXPECT_NEAR(metrics.mean("episode/return"), 15, 1e-9);
}

TEST(Worlds, AgentsOfOneWorldAreRowsOfTheirOwn) {
  register_builtins();
  auto options = read_options<WorldsOptions>(Config::parse("{environments: 2, steps: 4}"));
  Worlds worlds([] { return registry<Environment>().make(Config::parse("{type: point_mass, agents: 3}")); }, options,
                1);
  auto actor = actor_in(worlds.spec());
  Metrics metrics;
  Experience a = worlds.segments(*actor, 1, {.critic = true}, metrics);
  EXPECT_EQ(a.rows(), 6);
  EXPECT_FALSE(a.action[0].equal(a.action[1]));
}

TEST(Worlds, ADecisionMayHoldSeveralActions) {
  // Rewards 1, 2, .. 7; an episode ends after 7 steps.
  Worlds worlds = counters("{environments: 1, steps: 4, chunk: 3, reward_gamma: 0.5}", /*length=*/7, /*limit=*/0);
  EXPECT_EQ(worlds.spec().action.size(), 3);
  auto actor = actor_in(worlds.spec());
  Metrics metrics;
  Experience a = worlds.segments(*actor, 1, {.critic = true}, metrics);
  EXPECT_EQ(a.action.size(2), 3);
  EXPECT_EQ(row(a.reward, 0), (std::vector<double>{1 + 2 * 0.5 + 3 * 0.25, 4 + 5 * 0.5 + 6 * 0.25, 7, 2.75}));
  EXPECT_EQ(row(a.extra.tensor(extra::duration), 0), (std::vector<double>{3, 3, 1, 3}));
  EXPECT_EQ(row(a.extra.tensor(extra::last), 0), (std::vector<double>{0, 0, 1, 0}));
  EXPECT_NEAR(metrics.mean("episode/return"), 28, 1e-9);
  EXPECT_NEAR(metrics.mean("episode/length"), 7, 1e-9);

  Worlds limited = counters("{environments: 1, chunk: 3, reward_gamma: 1}", /*length=*/-1, /*limit=*/5);
  Experience b = limited.episodes(*actor, 1, 1, 1, {.critic = true}, metrics);
  EXPECT_EQ(row(b.reward, 0), (std::vector<double>{6, 9}));
  EXPECT_EQ(row(b.extra.tensor(extra::duration), 0), (std::vector<double>{3, 2}));
  EXPECT_NE(b.extra.tensor(extra::next_value)[0][1].item<float>(), 0);  // time ran out
}

TEST(Worlds, AChunksStepsAreRecordedOneByOneWhereTheyAreAskedFor) {
  Worlds worlds = counters("{environments: 1, chunk: 3, reward_gamma: 0.5, normalize_reward: true}", 5, /*limit=*/8);
  auto actor = actor_in(worlds.spec());
  Metrics metrics;
  Experience a = worlds.episodes(*actor, 1, 1, 1, {.transitions = true, .each_step = true}, metrics);
  EXPECT_EQ(row(a.extra.tensor(extra::step_observation).flatten(1), 0), (std::vector<double>{0, 1, 2, 3, 4, 0}));
  EXPECT_EQ(row(a.extra.tensor(extra::step_reward).flatten(1), 0), (std::vector<double>{1, 2, 3, 4, 5, 0}));
  EXPECT_EQ(row(a.extra.tensor(extra::next_observation).flatten(1), 0), (std::vector<double>{3, 5}));
  EXPECT_FALSE(worlds.episodes(*actor, 1, 1, 1, {}, metrics).extra.has(extra::step_observation));

  Worlds hiding = counters("{environments: 1, chunk: 3, hide: [0]}", 5, /*limit=*/8);
  Experience b = hiding.episodes(*actor, 1, 1, 1, {.each_step = true}, metrics);
  EXPECT_EQ(row(b.extra.tensor(extra::step_observation).flatten(1), 0), (std::vector<double>{0, 0, 0, 0, 0, 0}));
}

TEST(Worlds, AChunksActionsAreCarriedOutInTheirOrderByEachAgent) {
  register_builtins();
  auto of = [](const char* yaml) {
    return Worlds([] { return registry<Environment>().make(Config::parse("{type: point_mass, agents: 2}")); },
                  read_options<WorldsOptions>(Config::parse(yaml)), 1);
  };
  Worlds chunked = of("{environments: 1, steps: 1, chunk: 4}");
  GaussianActor::Options raw;
  raw.normalize_observations = false;
  auto actor = std::make_unique<GaussianActor>(raw);
  actor->enter(chunked.spec(), {}, 3);
  Metrics metrics;
  Experience a = chunked.segments(*actor, 1, {}, metrics), b = chunked.segments(*actor, 2, {}, metrics);
  auto environment = registry<Environment>().make(Config::parse("{type: point_mass, agents: 2}"));
  const EnvironmentSpec& spec = environment->spec();
  auto K = spec.action.size(), D = spec.observation;
  std::vector<double> seen(static_cast<size_t>(2 * D)), rewards(2), command(static_cast<size_t>(2 * K));
  environment->reset(mix(mix(1, 0), 0), seen);
  for (int64_t step = 0; step < 4; ++step) {
    for (int64_t agent = 0; agent < 2; ++agent)
      for (int64_t k = 0; k < K; ++k) {
        double told = a.action[agent][0][step * K + k].item<double>();
        command[static_cast<size_t>(agent * K + k)] =
            std::clamp(told, spec.action.low[static_cast<size_t>(k)], spec.action.high[static_cast<size_t>(k)]);
      }
    environment->step(command, seen, rewards);
  }
  // The next decision is made on what the chunk led to.
  Tensor next = b.context.tensor(extra::observation).flatten();
  EXPECT_TRUE(next.equal(at::tensor(seen, at::kDouble).to(at::kFloat)));
}

/// Remembers how many decisions it has made in this episode; says so as its value, and acts on nothing else.
class Rememberer : public GaussianActor {
 public:
  using GaussianActor::GaussianActor;
  int64_t memory() const override { return 1; }
  Decisions act_from(const Tensor& memory, const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy,
                     bool learn) override {
    Decisions out = act(observation, keys, greedy, learn);
    out.memory = memory.add(1), out.value = out.memory.squeeze(1);
    return out;
  }
  Tensor value_from(const Tensor& memory, const Tensor&) override { return memory.squeeze(1).add(100); }
};

TEST(Worlds, WhatAnAgentRemembersLastsOneEpisode) {
  auto of = [] { return counters("{environments: 2, steps: 5}", /*length=*/3, /*limit=*/0); };
  Worlds worlds = of();
  Rememberer actor(GaussianActor::Options{});
  Needs needs;
  needs.value = true;
  actor.enter(worlds.spec(), needs, 1);
  Metrics metrics;
  Experience a = worlds.segments(actor, 1, {.critic = true}, metrics);
  EXPECT_EQ(row(a.extra.tensor(extra::old_value), 1), (std::vector<double>{1, 2, 3, 1, 2}));
  EXPECT_EQ(row(a.extra.tensor(extra::next_value), 1), (std::vector<double>{2, 3, 0, 2, 102}));
  EXPECT_EQ(row(a.context.tensor(extra::memory), 0), (std::vector<double>{0}));
  Worlds resumed = of();
  resumed.load_state(worlds.state());
  for (Worlds* one : {&worlds, &resumed}) {
    Experience b = one->segments(actor, 2, {.critic = true}, metrics);
    EXPECT_EQ(row(b.context.tensor(extra::memory), 0), (std::vector<double>{2}));
    EXPECT_EQ(row(b.extra.tensor(extra::old_value), 0), (std::vector<double>{3, 1, 2, 3, 1}));
  }
}

TEST(Worlds, HiddenNumbersAreZero) {
  register_builtins();
  auto of = [](const char* yaml) {
    return Worlds([] { return registry<Environment>().make(Config::parse("{type: cart_pole}")); },
                  read_options<WorldsOptions>(Config::parse(yaml)), 1);
  };
  Worlds worlds = of("{environments: 2, steps: 30, hide: [1, 3]}");
  GaussianActor::Options raw;
  raw.normalize_observations = false;
  CategoricalActor actor(CategoricalActor::Options{raw});
  actor.enter(worlds.spec(), {}, 1);
  Metrics metrics;
  Tensor seen = worlds.segments(actor, 1, {}, metrics).context.tensor(extra::observation);
  EXPECT_EQ(seen.select(2, 1).abs().max().item<float>(), 0);
  EXPECT_EQ(seen.select(2, 3).abs().max().item<float>(), 0);
  EXPECT_GT(seen.select(2, 2).abs().min().item<float>(), 0);
  EXPECT_NE(testing::message_of([&] { of("{hide: [4]}"); }).find("0 to 3"), std::string::npos);
}

}  // namespace
}  // namespace rft::worlds_test
