// Actors: what the sampler says of its decisions is what the judge says; directories; masks; demonstrations.
#include "rft/policy/mlp_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/extra.h"
#include "rft/io/rows.h"
#include "support.h"

namespace rft::mlp_actor_test {
namespace {

EnvironmentSpec box() {
  EnvironmentSpec out;
  out.name = "box", out.observation = 4, out.action.low = {-1, -2}, out.action.high = {1, 3};
  return out;
}
EnvironmentSpec choices(bool masked = false) {
  EnvironmentSpec out;
  out.name = "choices", out.observation = 5, out.action.choices = 3, out.action.masked = masked;
  return out;
}

std::unique_ptr<Actor> make(const std::string& yaml, const EnvironmentSpec& world, const Needs& needs = {}) {
  std::unique_ptr<Actor> out;
  if (world.action.discrete())
    out = std::make_unique<CategoricalActor>(read_options<CategoricalActor::Options>(Config::parse(yaml)));
  else
    out = std::make_unique<GaussianActor>(read_options<GaussianActor::Options>(Config::parse(yaml)));
  out->enter(world, needs, 7);
  return out;
}

std::vector<uint64_t> keys(int64_t n, uint64_t from = 0) {
  std::vector<uint64_t> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(from + static_cast<uint64_t>(i));
  return out;
}

Experience recorded(const Decisions& d) {
  Experience out;
  out.context.set(extra::observation, d.observation.unsqueeze(1));
  out.action = d.action.unsqueeze(1), out.logp = d.logp.unsqueeze(1);
  out.mask = at::ones({d.logp.size(0), 1}, at::kBool), out.group = at::arange(d.logp.size(0));
  return out;
}

double furthest(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

TEST(Actors, TheJudgeAgreesWithTheSampler) {
  at::manual_seed(1);
  Needs needs;
  needs.entropy = needs.value = needs.ref_logp = true;
  for (auto [yaml, world] : {std::pair{"{log_std: -0.5}", box()},
                             {"{squash: true, activation: relu}", box()},
                             {"{}", choices()},
                             {"{hidden: [8]}", choices(true)}}) {
    auto actor = make(yaml, world, needs);
    for (auto& parameter : actor->parameters()) {
      at::NoGradGuard no_grad;
      parameter.value.add_(at::randn_like(parameter.value), 0.2);
    }
    Tensor seen = at::randn({50, world.observation}, at::kDouble);
    if (world.action.masked) seen.narrow(1, 2, 3).copy_(at::tensor({1.0, 0.0, 1.0}, at::kDouble).expand({50, 3}));
    Decisions d = actor->act(seen, keys(50), false, true);
    Evaluation now = actor->evaluate(recorded(d), needs);
    EXPECT_LE(furthest(now.logp.squeeze(1), d.logp), 2e-5) << yaml;
    EXPECT_EQ(now.value.sizes(), at::IntArrayRef({50, 1}));
    if (world.action.masked) {
      EXPECT_EQ(d.action.eq(1).sum().item<int64_t>(), 0);
    }
    // The reference is the policy as it entered, before the weights were changed.
    EXPECT_GT(furthest(actor->ref_logp(recorded(d), needs).squeeze(1), d.logp), 1e-3) << yaml;
    // A row's decision does not depend on the others', but for the rounding of one row's products.
    Decisions alone = actor->act(seen.narrow(0, 20, 1), keys(1, 20), false, false);
    EXPECT_LE(furthest(alone.action[0].to(at::kDouble), d.action[20].to(at::kDouble)), 1e-5) << yaml;
  }
}

TEST(Actors, ASquashedDensityIntegratesToOne) {
  EnvironmentSpec world;
  world.name = "line", world.observation = 1, world.action.low = {-2}, world.action.high = {4};
  auto actor = make("{squash: true, log_std: -0.3}", world);
  const int64_t N = 20001;
  // Actions are recorded before tanh; over commands the density must integrate to 1.
  Experience batch;
  Tensor u = at::linspace(-6, 6, N, at::kFloat).view({N, 1, 1});
  batch.action = u, batch.context.set(extra::observation, at::zeros({N, 1, 1}));
  batch.mask = at::ones({N, 1}, at::kBool);
  Tensor density = actor->evaluate(batch, {}).logp.detach().to(at::kDouble).exp().view({N});
  Tensor command = u.to(at::kDouble).view({N}).tanh().mul(3).add(1);
  Tensor areas = command.diff().mul(density.narrow(0, 1, N - 1).add(density.narrow(0, 0, N - 1))).div(2);
  EXPECT_NEAR(areas.sum().item<double>(), 1, 1e-4);
}

TEST(Actors, CommandsAreWithinTheBounds) {
  for (const char* yaml : {"{log_std: 2}", "{log_std: 2, squash: true}"}) {
    auto actor = make(yaml, box());
    Tensor command = actor->act(at::randn({500, 4}, at::kDouble), keys(500), false, false).command;
    EXPECT_GE(command.select(1, 0).min().item<double>(), -1);
    EXPECT_LE(command.select(1, 1).max().item<double>(), 3);
    EXPECT_GT(command.select(1, 1).max().item<double>(), 2);
  }
}

TEST(Actors, ChoicesAreMadeAsOftenAsTheyAreLikely) {
  auto actor = make("{hidden: [8]}", choices());
  for (auto& parameter : actor->parameters()) parameter.value.detach().add_(0.3);
  Tensor seen = at::randn({1, 5}, at::kDouble).expand({20000, 5}).contiguous();
  Decisions d = actor->act(seen, keys(20000), false, false);
  for (int64_t k = 0; k < 3; ++k) {
    Tensor chosen = d.action.squeeze(1).eq(k);
    double share = chosen.to(at::kDouble).mean().item<double>();
    double likely = std::exp(d.logp.masked_select(chosen)[0].item<double>());
    EXPECT_NEAR(share, likely, 0.015);
  }
  Decisions greedy = actor->act(seen.narrow(0, 0, 2), keys(2), true, false);
  EXPECT_TRUE(greedy.action[0].equal(greedy.action[1]));
}

TEST(Actors, ADirectoryBringsBackTheSameActor) {
  Needs needs;
  needs.value = true;
  testing::TempDir dir;
  auto actor = make("{hidden: [8, 8]}", box(), needs);
  Tensor seen = at::randn({6, 4}, at::kDouble).mul(5).add(2);
  actor->act(seen, keys(6), false, true);
  actor->save(dir.path());
  auto again = make("{hidden: [8, 8], path: " + dir.path() + "}", box(), needs);
  Decisions a = actor->act(seen, keys(6), false, false), b = again->act(seen, keys(6), false, false);
  EXPECT_TRUE(a.action.equal(b.action));
  EXPECT_TRUE(a.observation.equal(b.observation));
  EXPECT_TRUE(actor->value(seen, false).equal(again->value(seen, false)));

  std::string message = testing::message_of([&] { make("{hidden: [9, 8], path: " + dir.path() + "}", box(), needs); });
  EXPECT_NE(message.find("actor.0.weight"), std::string::npos) << message;
  EnvironmentSpec other = box();
  other.observation = 5;
  EXPECT_THROW(make("{hidden: [8, 8], path: " + dir.path() + "}", other), UserError);
}

TEST(Actors, TheOtherKindOfActionIsRefused) {
  GaussianActor gaussian({});
  CategoricalActor categorical({});
  EXPECT_NE(testing::message_of([&] { gaussian.enter(choices(), {}, 0); }).find("categorical"), std::string::npos);
  EXPECT_NE(testing::message_of([&] { categorical.enter(box(), {}, 0); }).find("gaussian"), std::string::npos);
}

TEST(Actors, DemonstrationsAreNormalisedByTheirOwnMoments) {
  testing::TempDir dir;
  testing::write_file(dir / "rows.jsonl",
                      R"({"observations": [[1,0,0,9],[3,0,0,9],[5,0,0,9]], "actions": [[0,1],[0.5,2]]})"
                      "\n"
                      R"({"observations": [[5,0,0,9]], "actions": [[1,1]]})"
                      "\n");
  auto actor = make("{}", box());
  Experience got = actor->demonstrations(Rows::load({dir / "rows.jsonl"}));
  EXPECT_EQ(got.action.sizes(), at::IntArrayRef({2, 2, 2}));
  EXPECT_EQ(got.mask.sum().item<int64_t>(), 3);
  Tensor first = got.context.tensor(extra::observation).select(2, 0);
  EXPECT_NEAR(first[0][0].item<double>(), -2 / std::sqrt(8.0 / 3), 1e-3);
  EXPECT_NEAR(first[0][1].item<double>(), 0, 1e-3);
  EXPECT_NEAR(first[1][0].item<double>(), 2 / std::sqrt(8.0 / 3), 1e-3);

  testing::write_file(dir / "bad.jsonl", R"({"observations": [[1,0,0,9]], "actions": [[0,1],[0.5,2]]})"
                                         "\n");
  std::string message = testing::message_of([&] { actor->demonstrations(Rows::load({dir / "bad.jsonl"})); });
  EXPECT_NE(message.find("bad.jsonl"), std::string::npos) << message;
  EXPECT_NE(message.find("1 observations and 2 actions"), std::string::npos) << message;
}

/// Windows of two steps: their rewards discounted, the observation two steps on, the returns those of single steps.
TEST(Actors, GivenDecisionsMayBeChunks) {
  testing::TempDir dir;
  EnvironmentSpec world = box();
  world.action.low = {-1, -2, -1, -2}, world.action.high = {1, 3, 1, 3}, world.chunk = 2;
  auto actor = make("{normalize_observations: false}", world);
  testing::write_file(
      dir / "rows.jsonl",
      R"({"observations": [[0,0,0,0],[1,0,0,0],[2,0,0,0],[3,0,0,0]], "actions": [[0,1],[0.5,2],[1,0]], )"
      R"("rewards": [1, 2, 4], "terminated": true})"
      "\n"
      R"({"observations": [[5,0,0,0],[6,0,0,0],[7,0,0,0]], "actions": [[0,1],[0,2],[1,1]], "rewards": [1, 1, 1]})"
      "\n");
  Experience got = actor->transitions(Rows::load({dir / "rows.jsonl"}), 2, 0.5);
  auto is = [](const Tensor& x, std::vector<float> expected) { return x.flatten().equal(at::tensor(expected)); };
  EXPECT_TRUE(is(got.action[0][1], {0.5, 2, 1, 0}));
  EXPECT_TRUE(is(got.reward, {2, 4, 1.5, 1.5}));
  EXPECT_TRUE(is(got.extra.tensor(extra::returns), {3, 4, 1.75, 1.5}));
  EXPECT_TRUE(is(got.extra.tensor(extra::next_observation).select(2, 0), {2, 3, 7, 0}));
  EXPECT_TRUE(is(got.extra.tensor(extra::duration), {2, 2, 2, 2}));
  // What followed the second row's last chunk is not known.
  EXPECT_TRUE(got.mask.equal(at::tensor({1, 1, 1, 0}).gt(0).view({2, 2})));
  EXPECT_TRUE(got.extra.tensor(extra::terminated).equal(at::tensor({0, 1, 0, 0}).gt(0).view({2, 2})));

  testing::write_file(dir / "short.jsonl", R"({"observations": [[0,0,0,0],[1,0,0,0]], "actions": [[0,1],[0,1]], )"
                                           R"("rewards": [1]})"
                                           "\n");
  EXPECT_NE(
      testing::message_of([&] { actor->transitions(Rows::load({dir / "short.jsonl"}), 2, 0.5); }).find("2 actions"),
      std::string::npos);
}

}  // namespace
}  // namespace rft::mlp_actor_test
