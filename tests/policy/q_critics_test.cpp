// What critics Q say of decisions: whom its gradients reach, how likely the actions were, how slow copies follow.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/policy/actor.h"
#include "support.h"

namespace rft::q_critics_test {
namespace {

EnvironmentSpec box() {
  EnvironmentSpec out;
  out.name = "box", out.observation = 4, out.action.low = {-1, -2}, out.action.high = {1, 3};
  return out;
}

const char* const kSquashed =
    "{type: gaussian, squash: true, state_std: true, hidden: [16], normalize_observations: false}";
const char* const kPlain = "{type: deterministic, hidden: [16], activation: relu, normalize_observations: false}";

std::unique_ptr<Actor> make(const std::string& yaml, const Needs& needs) {
  register_builtins();
  auto policy = registry<Policy>().make(Config::parse(yaml));
  auto* actor = dynamic_cast<Actor*>(policy.release());
  std::unique_ptr<Actor> out(actor);
  out->enter(box(), needs, 7);
  at::NoGradGuard no_grad;
  at::manual_seed(2);
  for (auto& parameter : out->parameters()) parameter.value.add_(at::randn_like(parameter.value), 0.1);
  return out;
}

Needs everything() {
  Needs needs;
  needs.value = true;
  QNeeds q;
  q.critics = 3, q.next = q.own = q.slow = q.next_value = q.behaviour = true, q.samples = 5;
  needs.q = q;
  return needs;
}

Experience decisions(int64_t rows = 6) {
  at::manual_seed(3);
  Experience out;
  out.context.set(extra::observation, at::randn({rows, 1, 4}));
  out.extra.set(extra::next_observation, at::randn({rows, 1, 4}));
  out.action = at::randn({rows, 1, 2}).clamp(-0.9, 0.9), out.mask = at::ones({rows, 1}, at::kBool);
  out.extra.set(extra::draw, at::arange(2 * rows, at::kLong).view({rows, 2}));
  return out;
}

std::map<std::string, double> reached(Actor& actor, const Tensor& x) {
  for (auto& parameter : actor.parameters()) parameter.value.mutable_grad() = Tensor();
  x.sum().backward();
  std::map<std::string, double> out;
  for (auto& parameter : actor.parameters()) {
    Tensor grad = parameter.value.grad();
    if (grad.defined()) out[parameter.group] += grad.abs().sum().item<double>();
  }
  return out;
}

TEST(QCritics, GradientsReachThoseTheyAreFor) {
  for (const char* yaml : {kSquashed, kPlain}) {
    Needs needs = everything();
    auto actor = make(yaml, needs);
    for (const char* name : {extra::q, extra::sampled_q}) {
      auto to = reached(*actor, actor->evaluate(decisions(), needs).extra.tensor(name));
      EXPECT_GT(to["critic"], 0) << name;
      EXPECT_EQ(to["policy"], 0) << name;
    }
    auto to = reached(*actor, actor->evaluate(decisions(), needs).extra.tensor(extra::actor_q));
    EXPECT_EQ(to["critic"], 0);
    EXPECT_GT(to["policy"], 0);
    Evaluation now = actor->evaluate(decisions(), needs);
    for (const char* name : {extra::next_q, extra::next_logp, extra::target_q, extra::next_value, extra::sampled_logp})
      EXPECT_FALSE(now.extra.tensor(name).requires_grad()) << name;
    EXPECT_EQ(now.extra.tensor(extra::sampled_q).sizes(), (std::vector<int64_t>{6, 1, 3, 15}));
    EXPECT_TRUE(now.value.requires_grad() && now.logp.requires_grad());
  }
}

TEST(QCritics, ARowsAnswerDoesNotDependOnTheBatch) {
  Needs needs = everything();
  auto actor = make(kSquashed, needs);
  Experience all = decisions();
  Evaluation whole = actor->evaluate(all, needs), part = actor->evaluate(all.narrow(2, 3), needs);
  for (const auto& [name, x] : part.extra.tensors())
    EXPECT_LE(x.sub(whole.extra.tensor(name).narrow(0, 2, 3)).abs().max().item<double>(), 1e-5) << name;
}

/// The density over scaled actions integrates to 1, and is the judge's up to the range of the action.
TEST(QCritics, DensitiesAreOfScaledActions) {
  Needs needs;
  QNeeds q;
  q.own = true;
  needs.q = q;
  auto actor = make(kSquashed, needs);
  Experience batch = decisions(4000);
  batch.context.set(extra::observation, batch.context.tensor(extra::observation).narrow(0, 0, 1).repeat({4000, 1, 1}));
  Tensor logp = actor->evaluate(batch, needs).extra.tensor(extra::actor_logp);
  // E[1 / p(a)] over a ~ p is the volume of where actions lie, [-1, 1]^2.
  double volume = logp.neg().exp().mean().item<double>();
  EXPECT_NEAR(volume, 4, 0.5);
}

TEST(QCritics, SlowCopiesFollow) {
  Needs needs = everything();
  needs.q->tau = 0.25, needs.q->target_every = 2;
  auto actor = make(kSquashed, needs);
  Tensor before = actor->evaluate(decisions(), needs).extra.tensor(extra::target_q).clone();
  actor->stepped(1);
  EXPECT_TRUE(actor->evaluate(decisions(), needs).extra.tensor(extra::target_q).equal(before));
  for (int64_t step = 2; step <= 200; step += 2) actor->stepped(step);
  Evaluation now = actor->evaluate(decisions(), needs);
  EXPECT_FALSE(now.extra.tensor(extra::target_q).equal(before));
  EXPECT_LE(now.extra.tensor(extra::target_q).sub(now.extra.tensor(extra::q)).abs().max().item<double>(), 1e-5);
}

TEST(QCritics, ADirectoryHoldsThemAndAnotherPolicyIsRefused) {
  Needs needs = everything();
  auto actor = make(kSquashed, needs);
  testing::TempDir folder;
  actor->save(folder.path());
  auto again = make(kSquashed, needs);
  again->load(folder.path());
  Evaluation a = actor->evaluate(decisions(), needs), b = again->evaluate(decisions(), needs);
  for (const auto& [name, x] : a.extra.tensors()) EXPECT_TRUE(x.equal(b.extra.tensor(name))) << name;
  std::string message = testing::message_of<UserError>([&] { make(kPlain, needs)->load(folder.path()); });
  EXPECT_NE(message.find("deterministic"), std::string::npos) << message;
}

TEST(QCritics, WhatCannotBeJudgedIsRefused) {
  auto message = [](const std::string& yaml) {
    return testing::message_of<UserError>([&] { make(yaml, everything())->evaluate(decisions(), everything()); });
  };
  EXPECT_NE(message("{type: gaussian, squash: true}").find("normalize_observations"), std::string::npos);
  EXPECT_NE(message("{type: gaussian, normalize_observations: false}").find("squash"), std::string::npos);
}

}  // namespace
}  // namespace rft::q_critics_test
