// A network of what choices are worth: what it takes and how likely, whom gradients reach, what its slow copy says.
#include "rft/policy/q_network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "support.h"

namespace rft::q_network_test {
namespace {

EnvironmentSpec choices(int64_t count, bool masked = false) {
  EnvironmentSpec out;
  out.name = "choices", out.observation = 4, out.action.choices = count, out.action.masked = masked;
  return out;
}

Needs of_dqn(bool twice, double tau = 1) {
  Needs needs;
  needs.data = Needs::Data::transitions;
  QNeeds q;
  q.critics = 1, q.next = true, q.slow_policy = !twice, q.tau = tau, q.target_every = 2;
  needs.q = q;
  return needs;
}

std::unique_ptr<QNetwork> make(const std::string& yaml, const EnvironmentSpec& world, const Needs& needs) {
  auto out = std::make_unique<QNetwork>(
      read_options<QNetwork::Options>(Config::parse("{normalize_observations: false, hidden: [16]" + yaml + "}")));
  out->enter(world, needs, 7);
  return out;
}

std::vector<uint64_t> keys(int64_t n) {
  std::vector<uint64_t> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(mix(5, static_cast<uint64_t>(i)));
  return out;
}

Experience transitions(int64_t rows, int64_t count) {
  at::manual_seed(3);
  Experience out;
  out.context.set(extra::observation, at::randn({rows, 1, 4}));
  out.extra.set(extra::next_observation, at::randn({rows, 1, 4}));
  out.action = at::randint(count, {rows, 1, 1}, at::kLong), out.mask = at::ones({rows, 1}, at::kBool);
  return out;
}

TEST(QNetwork, ExploresAsOftenAsItSays) {
  auto actor = make(", epsilon: 0.5, last_epsilon: 0.1, epsilon_decisions: 4000", choices(4), of_dqn(true));
  Tensor seen = at::zeros({4000, 4}, at::kDouble);
  Tensor best = actor->act(seen, keys(4000), /*greedy=*/true, false).action;
  Decisions first = actor->act(seen, keys(4000), false, /*learn=*/true);
  Tensor same = first.action.eq(best).squeeze(1).to(at::kDouble);
  EXPECT_NEAR(same.mean().item<double>(), 0.5 + 0.5 / 4, 0.03);
  // logp is that of the mixture.
  Tensor likely = at::where(same.gt(0.5), 0.5 + 0.125, 0.125);
  EXPECT_LE(first.logp.exp().sub(likely).abs().max().item<double>(), 1e-6);
  // It has come down, and stays there.
  for (int64_t i = 0; i < 2; ++i) {
    Tensor now = actor->act(seen, keys(4000), false, true).action.eq(best).to(at::kDouble);
    EXPECT_NEAR(now.mean().item<double>(), 0.9 + 0.1 / 4, 0.02);
  }
  testing::TempDir dir;
  actor->save(dir.path());
  auto again = make(", path: " + dir.path(), choices(4), of_dqn(true));
  EXPECT_TRUE(
      again->act(seen, keys(4000), false, false).action.equal(actor->act(seen, keys(4000), false, false).action));
}

TEST(QNetwork, ChoicesThatAreNotAllowedAreNotMade) {
  auto actor = make("", choices(3, /*masked=*/true), of_dqn(true));
  Tensor seen = at::randn({200, 4}, at::kDouble);
  seen.narrow(1, 1, 3).copy_(at::tensor({1.0, 0.0, 1.0}, at::kDouble));
  for (const Decisions& d : {actor->act(seen, keys(200), true, false), actor->random(seen, keys(200))})
    EXPECT_FALSE(d.action.eq(1).any().item<bool>());
  EXPECT_LE(actor->random(seen, keys(200)).logp.sub(std::log(0.5)).abs().max().item<double>(), 1e-6);
}

/// What is done next is the trained network's choice (double) or the slow one's, and the slow one says what it is
/// worth.
TEST(QNetwork, TheNextDecisionIsWorthWhatTheSlowCopySays) {
  for (bool twice : {true, false}) {
    Needs needs = of_dqn(twice);
    auto actor = make("", choices(5), needs);
    Experience batch = transitions(40, 5);
    Tensor next = batch.extra.tensor(extra::next_observation);
    auto all = [&] {  // [N, 5], of the trained network as it is
      std::vector<Tensor> columns;
      for (int64_t c = 0; c < 5; ++c) {
        Experience one = batch;
        one.context.set(extra::observation, next), one.action = at::full({40, 1, 1}, c, at::kLong);
        columns.push_back(actor->evaluate(one, needs).extra.tensor(extra::q).detach().view({40, 1}));
      }
      return at::cat(columns, 1);
    };
    Tensor slow = all();
    {
      at::NoGradGuard no_grad;
      for (auto& parameter : actor->parameters()) parameter.value.add_(at::randn_like(parameter.value), 0.3);
    }
    Tensor trained = all(), got = actor->evaluate(batch, needs).extra.tensor(extra::next_q).view({40});
    Tensor done = (twice ? trained : slow).argmax(1, true);
    EXPECT_LE(got.sub(slow.gather(1, done).squeeze(1)).abs().max().item<double>(), 1e-6) << twice;
    EXPECT_FALSE(got.requires_grad());
    actor->stepped(1);
    EXPECT_TRUE(actor->evaluate(batch, needs).extra.tensor(extra::next_q).view({40}).equal(got));
    actor->stepped(2);  // tau is 1: the slow copy is the trained one now
    got = actor->evaluate(batch, needs).extra.tensor(extra::next_q).view({40});
    EXPECT_LE(got.sub(trained.amax(1)).abs().max().item<double>(), 1e-6);
  }
}

TEST(QNetwork, WhatDoesNotFitIsNamed) {
  EnvironmentSpec box;
  box.name = "box", box.observation = 4, box.action.low = {-1}, box.action.high = {1};
  EXPECT_NE(testing::message_of([&] { make("", box, of_dqn(true)); }).find("gaussian"), std::string::npos);
  EXPECT_NE(testing::message_of([&] {
              make(", epsilon: 0.1, last_epsilon: 0.2", choices(2), of_dqn(true));
            }).find("last_epsilon"),
            std::string::npos);
  Needs sac = of_dqn(true);
  sac.q->own = true;
  EXPECT_NE(testing::message_of([&] { make("", choices(2), sac); }).find("dqn"), std::string::npos);
  auto actor = make("", choices(2), {});
  EXPECT_NE(testing::message_of([&] { actor->evaluate(transitions(2, 2), {}); }).find("categorical"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::q_network_test
