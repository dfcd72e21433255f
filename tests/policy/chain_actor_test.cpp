// Flow and diffusion actors: their likelihood is that of a brute-force computation; cut into decisions; what they learn
// from demonstrations; directories.
#include "rft/policy/chain_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numbers>

#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"
#include "rft/credit/gae.h"
#include "rft/diffusion/scheduler.h"
#include "rft/io/rows.h"
#include "rft/train/optimizer.h"
#include "support.h"

namespace rft::chain_actor_test {
namespace {

EnvironmentSpec box(int64_t observation = 3) {
  EnvironmentSpec out;
  out.name = "box", out.observation = observation, out.action.low = {-1, -2}, out.action.high = {1, 4};
  return out;
}
EnvironmentSpec line() {
  EnvironmentSpec out;
  out.name = "line", out.observation = 1, out.action.low = {-1}, out.action.high = {1};
  return out;
}

template <class T>
std::unique_ptr<ChainActor> made(const std::string& yaml, const EnvironmentSpec& world, const Needs& needs) {
  auto out = std::make_unique<T>(read_options<typename T::Options>(Config::parse(yaml)));
  out->enter(world, needs, 7);
  return out;
}
std::unique_ptr<ChainActor> make(const std::string& kind, const std::string& yaml, const EnvironmentSpec& world,
                                 const Needs& needs = {}) {
  return kind == "flow" ? made<FlowActor>(yaml, world, needs) : made<DiffusionActor>(yaml, world, needs);
}

std::vector<uint64_t> keys(int64_t n, uint64_t from = 0) {
  std::vector<uint64_t> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(mix(5, from + static_cast<uint64_t>(i)));
  return out;
}

/// One decision a row, as the recorder has it, with an advantage.
Experience recorded(const Decisions& d) {
  int64_t N = d.logp.size(0);
  Experience out;
  out.context.set(extra::observation, d.observation.unsqueeze(1));
  out.action = d.action.unsqueeze(1), out.logp = d.logp.unsqueeze(1);
  out.extra.set(extra::step_logp, d.step_logp.unsqueeze(1));
  out.extra.set(extra::returns, at::arange(N, at::kFloat).unsqueeze(1));
  out.mask = at::ones({N, 1}, at::kBool), out.group = at::arange(N);
  out.advantage = at::linspace(-1, 1, N).unsqueeze(1), out.reward = out.advantage.clone();
  return out;
}

void stir(ChainActor& actor, double scale = 0.2) {
  at::NoGradGuard no_grad;
  at::manual_seed(3);
  for (auto& parameter : actor.parameters()) parameter.value.add_(at::randn_like(parameter.value), scale);
}

double furthest(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

/// What the networks say, in float64 and from the directory's tensors alone.
class ByHand {
 public:
  explicit ByHand(ChainActor& actor) {
    for (const auto& parameter : actor.parameters()) all_[parameter.name] = parameter.value.detach().to(at::kDouble);
  }
  Tensor network(const std::string& name, Tensor x) const {
    for (int64_t i = 0;; ++i) {
      auto weight = all_.find(cat(name, ".", i, ".weight"));
      if (weight == all_.end()) return x;
      if (i > 0) x = x.tanh();
      x = x.matmul(weight->second.t()).add(all_.at(cat(name, ".", i, ".bias")));
    }
  }
  static Tensor when(double t, int64_t rows) {
    std::vector<double> out;
    for (double turns : {1.0, 2.0, 4.0, 8.0}) out.push_back(std::sin(std::numbers::pi * turns * t));
    for (double turns : {1.0, 2.0, 4.0, 8.0}) out.push_back(std::cos(std::numbers::pi * turns * t));
    return at::tensor(out, at::kDouble).unsqueeze(0).expand({rows, 8});
  }

 private:
  std::map<std::string, Tensor> all_;
};

/// [N]: sum of log N(x; mean, std).
Tensor normal(const Tensor& x, const Tensor& mean, const Tensor& std) {
  return x.sub(mean).div(std).square().mul(-0.5).sub(std.log()).sub(0.5 * std::log(2 * std::numbers::pi)).sum(1);
}

TEST(FlowActor, TheLikelihoodIsThatOfTheChainOfNormals) {
  at::manual_seed(1);
  Tensor seen = at::randn({40, 3}, at::kDouble);
  for (bool shortcut : {false, true}) {
    auto actor = make("flow",
                      cat("{normalize_observations: false, min_std: 0.05, max_std: 0.5, start_logp: true, shortcut: ",
                          shortcut ? "true" : "false", "}"),
                      box());
    stir(*actor);
    Decisions d = actor->act(seen, keys(40), false, false);
    ByHand by_hand(*actor);
    Tensor chain = d.action.to(at::kDouble), o = seen.to(at::kFloat).to(at::kDouble);
    Tensor zero = at::zeros_like(chain.select(1, 0));
    Tensor logp = normal(chain.select(1, 0), zero, at::ones_like(zero));
    double widest = 0, least = 1;
    for (int64_t k = 0; k < 4; ++k) {
      double t = static_cast<double>(k) / 4;
      std::vector<Tensor> told{chain.select(1, k), ByHand::when(t, 40)};
      if (shortcut) told.push_back(ByHand::when(0.25, 40));
      told.push_back(o);
      Tensor mean = chain.select(1, k).add(by_hand.network("step", at::cat(told, 1)), 0.25).clamp(-1, 1);
      Tensor share = by_hand.network("noise", at::cat({ByHand::when(t, 40), o}, 1)).tanh().add(1).div(2);
      Tensor std = share.mul(std::log(0.5 / 0.05)).add(std::log(0.05)).exp();
      widest = std::max(widest, std.max().item<double>()), least = std::min(least, std.min().item<double>());
      logp = logp.add(normal(chain.select(1, k + 1), mean, std));
    }
    EXPECT_GT(widest, 0.2);
    EXPECT_LT(least, 0.12);
    EXPECT_LE(furthest(d.logp.to(at::kDouble), logp), 2e-4) << "of numbers near " << logp.abs().mean().item<double>();
  }
}

TEST(DiffusionActor, ItsStepsAreThoseOfDdpm) {
  at::manual_seed(1);
  const int64_t S = 6, N = 30;
  auto actor = make("diffusion", "{normalize_observations: false, denoising_steps: 6, min_std: 0.08}", box());
  stir(*actor, 0.1);
  Tensor seen = at::randn({N, 3}, at::kDouble);
  Decisions d = actor->act(seen, keys(N), false, false);
  ByHand by_hand(*actor);
  // The scheduler of the diffusion room, which is held to diffusers' numbers.
  auto scheduler = make_scheduler(
      R"({"_class_name": "DDPMScheduler", "num_train_timesteps": 6, "beta_schedule": "squaredcos_cap_v2",)"
      R"( "clip_sample": true, "clip_sample_range": 1.0, "prediction_type": "epsilon", "variance_type": "fixed_small"})",
      "", "test");
  auto plan = scheduler->plan(S);
  StepHistory history;
  Tensor chain = d.action.to(at::kDouble), o = seen.to(at::kFloat).to(at::kDouble);
  for (int64_t k = 0; k < S; ++k) {
    Tensor x = chain.select(1, k);
    Tensor e = by_hand.network("step", at::cat({x, ByHand::when(static_cast<double>(k) / S, N), o}, 1));
    auto picture = [&](const Tensor& flat) { return flat.view({N, 2, 1, 1}); };
    Transition t = scheduler->step(plan, k, picture(e), picture(x), {}, history);
    Tensor std = at::full({N, 2}, std::max(t.std, 0.08), at::kDouble);
    Tensor expected = normal(chain.select(1, k + 1), t.mean.view({N, 2}), std);
    EXPECT_LE(furthest(d.step_logp.select(1, k).to(at::kDouble), expected), 2e-4) << "step " << k;
  }
}

TEST(ChainActors, TheJudgeAgreesWithTheSampler) {
  at::manual_seed(1);
  Needs needs;
  needs.entropy = needs.value = needs.ref_logp = true;
  for (std::string kind : {"flow", "diffusion"})
    for (std::string options : {"decision: chain", "decision: step", "decision: chain, logp: mean, start_logp: true",
                                "decision: step, logp: mean, logp_range: [-2, 1], clip: null"}) {
      auto actor = make(kind, "{" + options + ", activation: relu}", box(), needs);
      stir(*actor, 0.1);
      Decisions d = actor->act(at::randn({50, 3}, at::kDouble), keys(50), false, true);
      Experience rows = recorded(d), cut = actor->decisions(rows);
      Evaluation whole = actor->evaluate(rows, needs);
      EXPECT_LE(furthest(whole.logp, rows.logp), 1e-4) << kind << options;
      Evaluation now = actor->evaluate(cut, needs);
      EXPECT_EQ(now.logp.sizes(), cut.mask.sizes());
      EXPECT_LE(furthest(now.logp, cut.logp), 1e-4) << kind << options;
      EXPECT_EQ(now.value.sizes(), cut.mask.sizes());
      EXPECT_EQ(now.entropy.sizes(), cut.mask.sizes());
      EXPECT_GT(furthest(actor->ref_logp(cut, needs), cut.logp), 1e-3);
      // A decision does not depend on the others of the batch.
      Decisions alone = actor->act(at::randn({1, 3}, at::kDouble), keys(1, 20), false, false);
      EXPECT_TRUE(alone.action[0][0].equal(d.action[20][0]));
    }
}

/// The error of the answer at each step against what leads straight to the end; by hand, and its distance to the
/// reference's answer.
TEST(ChainActors, ForwardAStepIsJudgedByWhereItLeads) {
  const int64_t S = 4, N = 12;
  const std::string options = "normalize_observations: false, decision: step, denoising_gamma: 1, judge: forward";
  for (std::string kind : {"flow", "diffusion"}) {
    Needs needs;
    needs.ref_estimate = true;
    auto actor = make(kind, "{" + options + ", denoising_steps: 4}", box(), needs);
    at::manual_seed(1);
    Decisions d = actor->act(at::randn({N, 3}, at::kDouble), keys(N), false, false);
    ByHand first(*actor);
    stir(*actor);
    Experience cut = actor->decisions(recorded(d));
    ByHand now(*actor);
    Evaluation judged = actor->evaluate(cut, needs);
    EXPECT_TRUE(judged.logp.equal(cut.logp));
    Tensor chain = d.action.to(at::kDouble), o = d.observation.to(at::kDouble), clean = chain.select(1, S);
    auto scheduler = make_scheduler(
        R"({"_class_name": "DDPMScheduler", "num_train_timesteps": 4, "beta_schedule": "squaredcos_cap_v2"})", "",
        "test");
    for (int64_t k = 0; k < S; ++k) {
      Tensor x = chain.select(1, k), t = ByHand::when(static_cast<double>(k) / S, N), right;
      if (kind == "flow") {
        right = clean.sub(x).div(1 - static_cast<double>(k) / S);
      } else {
        Tensor one = at::ones({1, 1, 1, 1}, at::kDouble), zero = at::zeros_like(one), level = at::tensor({S - 1 - k});
        double signal = scheduler->add_noise(one, zero, level).item<double>();
        right = x.sub(clean.mul(signal)).div(std::sqrt(1 - signal * signal));
      }
      Tensor said = now.network("step", at::cat({x, t, o}, 1)), before = first.network("step", at::cat({x, t, o}, 1));
      EXPECT_LE(furthest(judged.logp.select(1, k).to(at::kDouble), said.sub(right).square().mean(1).neg()), 5e-4)
          << kind << " " << k;
      Tensor moved = judged.extra.tensor(extra::estimate).sub(judged.extra.tensor(extra::ref_estimate)).select(1, k);
      EXPECT_LE(furthest(moved.to(at::kDouble), said.sub(before)), 1e-4) << kind << " " << k;
    }
  }
  EXPECT_NE(testing::message_of([&] { make("flow", "{judge: forward}", box()); }).find("decision must be step"),
            std::string::npos);
}

TEST(ChainActors, CutIntoStepsARowIsOneChain) {
  auto actor = make("diffusion", "{denoising_steps: 5, denoising_gamma: 0.9}", box());
  Experience rows = recorded(actor->act(at::randn({8, 3}, at::kDouble), keys(8), false, true));
  rows.mask[3][0] = false;
  Experience cut = actor->decisions(rows);
  EXPECT_EQ(cut.action.sizes(), at::IntArrayRef({7, 5, 2}));
  EXPECT_TRUE(cut.mask.all().item<bool>());
  EXPECT_TRUE(cut.action[0].equal(rows.action[0][0].narrow(0, 1, 5)));
  EXPECT_TRUE(cut.context.tensor(extra::start)[6].equal(rows.action[7][0][0]));
  EXPECT_LE(furthest(cut.logp.sum(1)[1], rows.logp[1][0]), 1e-4);
  for (int64_t k = 0; k < 5; ++k) EXPECT_NEAR(cut.advantage[0][k].item<double>(), -std::pow(0.9, 4 - k), 1e-6);
  EXPECT_TRUE(cut.extra.tensor(extra::returns)[6].eq(7).all().item<bool>());
  EXPECT_EQ(cut.reward.sum(1)[0].item<float>(), rows.reward[0][0].item<float>());
  // A flow's chain is one decision.
  auto flow = make("flow", "{}", box());
  Experience chains = flow->decisions(recorded(flow->act(at::randn({8, 3}, at::kDouble), keys(8), false, true)));
  EXPECT_EQ(chains.logp.sizes(), at::IntArrayRef({8, 1}));
}

/// Two rows of three decisions as a rollout records them; an episode ends with the second one of row 0.
Experience segments(ChainActor& actor, int64_t chunk_lasted) {
  at::NoGradGuard no_grad;
  Decisions d = actor.act(at::randn({6, 3}, at::kDouble), keys(6), false, true);
  auto wide = [](const Tensor& x) {
    auto shape = x.sizes().vec();
    shape[0] = 3, shape.insert(shape.begin(), 2);
    return x.view(shape).contiguous();
  };
  Experience out;
  out.context.set(extra::observation, wide(d.observation));
  out.action = wide(d.action), out.logp = wide(d.logp), out.mask = at::ones({2, 3}, at::kBool);
  out.extra.set(extra::step_logp, wide(d.step_logp));
  out.reward = at::tensor({1.0f, -2.0f, 0.5f, 0.0f, 3.0f, 1.0f}).view({2, 3}), out.group = at::arange(2);
  out.extra.set(extra::last, at::tensor({0, 1, 0, 0, 0, 0}).gt(0).view({2, 3}));
  out.extra.set(extra::duration, at::full({2, 3}, static_cast<float>(chunk_lasted)));
  out.extra.set(extra::old_value, actor.value(out.context.tensor(extra::observation), true));
  Tensor next = at::tensor({0.3f, 0.0f, 0.7f, -0.4f, 0.2f, 0.9f}).view({2, 3});
  out.extra.set(extra::next_value, next);
  return out;
}

/// Advantages of the steps against their definition, written out from the last step to the first.
TEST(ChainActors, ACriticOfStepsGivesEachAnAdvantageOfItsOwn) {
  Needs needs;
  needs.value = true;
  for (std::string kind : {"flow", "diffusion"}) {
    auto actor = make(kind, "{denoising_steps: 3, decision: step, critic: steps, denoising_gamma: 1, hidden: [8]}",
                      box(), needs);
    stir(*actor);
    Experience rollout = segments(*actor, 2), credited = actor->for_credit(rollout);
    ASSERT_EQ(credited.mask.sizes(), at::IntArrayRef({2, 9}));
    Tensor value = credited.extra.tensor(extra::old_value);
    // Of the first sample the critic sees nothing: its value is that of the observation.
    EXPECT_LE(furthest(value.view({2, 3, 3}).select(2, 0), rollout.extra.tensor(extra::old_value)), 1e-6);
    Metrics metrics;
    Gae::Options options;
    options.gamma = 0.9, options.lambda = 0.8, options.kl_weight = 0, options.whiten_advantages = false;
    Gae(options).assign(credited, metrics);
    Tensor next = rollout.extra.tensor(extra::next_value);
    for (int64_t b = 0; b < 2; ++b) {
      double ahead = 0;
      for (int64_t u = 8; u >= 0; --u) {
        bool end = u % 3 == 2;
        if (b == 0 && u == 5) ahead = 0;
        double reward = end ? rollout.reward[b][u / 3].item<double>() : 0, discount = end ? 0.9 * 0.9 : 1;
        double follows = end ? next[b][u / 3].item<double>() : value[b][u + 1].item<double>();
        ahead = reward + discount * follows - value[b][u].item<double>() + discount * 0.8 * ahead;
        EXPECT_NEAR(credited.advantage[b][u].item<double>(), ahead, 1e-5) << kind << b << " " << u;
      }
    }
    // Cut into decisions a row is a chain; the judge's values are those of the rollout.
    Experience cut = actor->decisions(credited);
    EXPECT_EQ(cut.action.sizes(), at::IntArrayRef({6, 3, 2}));
    EXPECT_LE(furthest(cut.advantage, credited.advantage.view({6, 3})), 1e-6);
    Evaluation now = actor->evaluate(cut, needs);
    EXPECT_LE(furthest(now.value, value.view({6, 3})), 1e-5);
    EXPECT_LE(furthest(now.logp, cut.logp), 1e-4);
    EXPECT_EQ(cut.group.sum().item<int64_t>(), 3);
    std::string whole = testing::message_of<UserError>([&] { actor->evaluate(credited, needs); });
    EXPECT_NE(whole.find("learn_from"), std::string::npos) << whole;
  }
  std::string message = testing::message_of<UserError>([] { make("flow", "{critic: steps}", box()); });
  EXPECT_NE(message.find("decision must be step"), std::string::npos) << message;
}

/// The gradient of a step's value by finite differences, in the weight that moves it most.
TEST(ChainActors, AStepsValueHasItsOwnGradient) {
  Needs needs;
  needs.value = true;
  auto actor = make("flow", "{denoising_steps: 3, decision: step, critic: steps, hidden: [8]}", box(), needs);
  stir(*actor);
  Experience cut = actor->decisions(actor->for_credit(segments(*actor, 1)));
  auto value = [&] { return actor->evaluate(cut, needs).value; };
  value().select(1, 2).sum().backward();
  for (auto& parameter : actor->parameters()) {
    if (parameter.group != groups::critic) {
      EXPECT_FALSE(parameter.value.grad().defined() && parameter.value.grad().abs().max().item<double>() > 0);
      continue;
    }
    at::NoGradGuard no_grad;
    Tensor flat = parameter.value.view({-1}), grad = parameter.value.grad().view({-1});
    int64_t most = grad.abs().argmax().item<int64_t>();
    double slope = grad[most].item<double>(), before = flat[most].item<double>(), by = 1e-2;
    flat[most] = before + by;
    double up = value().select(1, 2).sum().item<double>();
    flat[most] = before - by;
    double down = value().select(1, 2).sum().item<double>();
    flat[most] = before;
    EXPECT_NEAR((up - down) / (2 * by), slope, 1e-2 * std::max(1.0, std::abs(slope))) << parameter.name;
  }
}

/// Gradients of half the rows add up to those of all.
TEST(ChainActors, MicroBatchesAddUp) {
  Needs needs;
  needs.value = true;
  for (std::string kind : {"flow", "diffusion"}) {
    auto actor = make(kind, kind == "flow" ? "{shortcut: true}" : "{}", box(), needs);
    stir(*actor, 0.1);
    Experience rollout = [&] {
      at::NoGradGuard no_grad;
      return actor->decisions(recorded(actor->act(at::randn({12, 3}, at::kDouble), keys(12), false, true)));
    }();
    Experience shown;
    shown.context.set(extra::observation, at::randn({12, 1, 3}));
    shown.action = at::rand({12, 1, 2}), shown.mask = at::ones({12, 1}, at::kBool), shown.group = at::arange(12);
    shown.extra.set(extra::draw, at::randint(1 << 30, {12, 2}, at::kLong));
    for (const Experience& batch : {rollout, shown}) {
      Needs wanted = batch.context.has(extra::start) ? needs : Needs{};
      auto gradients = [&](const std::vector<Experience>& parts) {
        for (auto& parameter : actor->parameters()) parameter.value.mutable_grad() = Tensor();
        for (const auto& part : parts) {
          Evaluation now = actor->evaluate(part, wanted);
          Tensor loss = now.logp.sum();
          if (now.value.defined()) loss = loss.add(now.value.square().sum());
          loss.backward();
        }
        std::vector<Tensor> out;
        for (auto& parameter : actor->parameters())
          if (parameter.value.grad().defined()) out.push_back(parameter.value.grad().flatten());
        return at::cat(out);
      };
      Tensor whole = gradients({batch}), split = gradients({batch.narrow(0, 5), batch.narrow(5, 7)});
      EXPECT_LE(furthest(whole, split), 1e-5 * whole.abs().max().item<double>()) << kind;
    }
  }
}

/// Two equally good actions, +0.7 and -0.7, whatever is observed: their mean is the worst answer.
void learn_two_ways(ChainActor& actor, int64_t updates) {
  const int64_t N = 256;
  OptimizerOptions options;
  Optimizer optimizer(actor.parameters(), options);
  for (int64_t i = 0; i < updates; ++i) {
    Experience batch;
    batch.context.set(extra::observation, at::zeros({N, 1, 1}));
    batch.action = at::where(at::arange(N).remainder(2).eq(0), 0.7, -0.7).to(at::kFloat).view({N, 1, 1});
    batch.mask = at::ones({N, 1}, at::kBool);
    batch.extra.set(extra::draw, at::arange(2 * N, at::kLong).view({N, 2}).add(i * 100003));
    optimizer.zero_grad();
    actor.evaluate(batch, {}).logp.mean().neg().backward();
    optimizer.step(3e-3);
  }
}

/// Shares of greedy actions near one of the two, and between them.
std::pair<double, double> near_and_between(ChainActor& actor) {
  Tensor action = actor.act(at::zeros({400, 1}, at::kDouble), keys(400), true, false).command.abs();
  return {action.sub(0.7).abs().lt(0.15).to(at::kDouble).mean().item<double>(),
          action.lt(0.35).to(at::kDouble).mean().item<double>()};
}

TEST(ChainActors, LearnBothOfTwoWays) {
  const std::string shape = "hidden: [64, 64], activation: relu, normalize_observations: false";
  auto diffusion = make("diffusion", "{" + shape + ", denoising_steps: 10}", line());
  learn_two_ways(*diffusion, 500);
  auto [near, between] = near_and_between(*diffusion);
  EXPECT_GT(near, 0.8);
  EXPECT_LT(between, 0.08);
  Tensor signs = diffusion->act(at::zeros({400, 1}, at::kDouble), keys(400), true, false).command.sign();
  EXPECT_NEAR(signs.mean().item<double>(), 0, 0.25);

  auto flow = make("flow", "{" + shape + ", denoising_steps: 8}", line());
  learn_two_ways(*flow, 500);
  auto [flow_near, flow_between] = near_and_between(*flow);
  EXPECT_GT(flow_near, 0.7);
  EXPECT_LT(flow_between, 0.15);
}

TEST(FlowActor, AShortcutGoesInOneStepWhereAFlowCannot) {
  const std::string shape = "hidden: [64, 64], activation: relu, normalize_observations: false, denoising_steps: 1";
  auto plain = make("flow", "{" + shape + "}", line());
  learn_two_ways(*plain, 700);
  EXPECT_LT(near_and_between(*plain).first, 0.1);  // one step of the flow goes to the mean of both
  auto shortcut = make("flow", "{" + shape + ", shortcut: true, consistency: 0.4, consistency_levels: 4}", line());
  learn_two_ways(*shortcut, 700);
  EXPECT_GT(near_and_between(*shortcut).first, 0.5);
}

TEST(ChainActors, ADirectoryBringsBackTheSameActor) {
  for (std::string kind : {"flow", "diffusion"}) {
    Needs needs;
    needs.value = true;
    testing::TempDir dir;
    auto actor = make(kind, "{hidden: [8, 8]}", box(), needs);
    Tensor seen = at::randn({6, 3}, at::kDouble).mul(5).add(2);
    actor->act(seen, keys(6), false, true);
    actor->save(dir.path());
    auto again = make(kind, "{hidden: [8, 8], path: " + dir.path() + "}", box(), needs);
    Decisions a = actor->act(seen, keys(6), false, false), b = again->act(seen, keys(6), false, false);
    EXPECT_TRUE(a.action.equal(b.action));
    EXPECT_TRUE(actor->value(seen, false).equal(again->value(seen, false)));
    auto refused = [&](const std::string& of, const std::string& options) {
      return testing::message_of([&] { make(of, "{hidden: [8, 8], path: " + dir.path() + options + "}", box()); });
    };
    std::string other = kind == "flow" ? "diffusion" : "flow";
    EXPECT_NE(refused(other, "").find("model_type"), std::string::npos);
    EXPECT_NE(refused(kind, kind == "flow" ? ", shortcut: true" : ", denoising_steps: 7").find("must be the recipe's"),
              std::string::npos);
  }
  EXPECT_NE(testing::message_of([] { make("flow", "{shortcut: true, denoising_steps: 3}", box()); }).find("1, 2, 4"),
            std::string::npos);
  EXPECT_NE(testing::message_of([] { make("flow", "{min_std: 0.5}", box()); }).find("max_std"), std::string::npos);
}

TEST(ChainActors, OnlyTheTrainedStepsAreDecisions) {
  for (const char* kind : {"flow", "diffusion"}) {
    auto all = make(kind, "{hidden: [8], denoising_steps: 5}", box());
    stir(*all);
    testing::TempDir before, after;
    all->save(before.path());
    const std::string part = cat("{hidden: [8], denoising_steps: 5, trained_steps: 2, path: ", before.path(), "}");
    auto actor = make(kind, part, box());
    Tensor seen = at::randn({6, 3}, at::kDouble);
    Decisions whole = all->act(seen, keys(6), false, false), d = actor->act(seen, keys(6), false, false);
    EXPECT_TRUE(d.command.equal(whole.command)) << "nothing has been learned yet";
    EXPECT_TRUE(d.action.equal(whole.action.narrow(1, 3, 3))) << "the chain begins with the fourth sample";
    EXPECT_TRUE(d.step_logp.equal(whole.step_logp.narrow(1, 3, 2)));
    Experience rows = recorded(d);
    EXPECT_LE(furthest(actor->evaluate(rows, {}).logp, rows.logp), 1e-5);

    stir(*actor);
    Decisions moved = actor->act(seen, keys(6), false, false);
    EXPECT_TRUE(moved.action.select(1, 0).equal(d.action.select(1, 0))) << "the earlier steps stay as they were";
    EXPECT_FALSE(moved.command.equal(d.command));
    actor->save(after.path());
    auto again =
        make(kind, cat("{hidden: [8], denoising_steps: 5, trained_steps: 2, path: ", after.path(), "}"), box());
    EXPECT_TRUE(again->act(seen, keys(6), false, false).command.equal(moved.command)) << "the frozen network is saved";
  }
  auto message = testing::message_of([] { make("flow", "{denoising_steps: 3, trained_steps: 4}", box()); });
  EXPECT_NE(message.find("trained_steps"), std::string::npos) << message;
}

TEST(ChainActors, DemonstrationsAreOverlappingChunks) {
  EnvironmentSpec world = line();
  world.chunk = 3, world.action.low = {-1, -1, -1}, world.action.high = {1, 1, 1};
  auto actor = make("flow", "{}", world);
  Rows rows = Rows::parse({R"({"observations": [[0],[1],[2],[3],[4]], "actions": [[0.1],[0.2],[0.3],[0.4],[0.5]]})",
                           R"({"observations": [[7],[8],[9]], "actions": [[-0.1],[-0.2],[-0.3]]})"});
  Experience got = actor->demonstrations(rows);
  EXPECT_EQ(got.mask.sum().item<int64_t>(), 4);
  EXPECT_TRUE(got.action[0][2].allclose(at::tensor({0.3f, 0.4f, 0.5f})));
  EXPECT_TRUE(got.action[1][0].allclose(at::tensor({-0.1f, -0.2f, -0.3f})));
  EXPECT_EQ(actor->decisions(got).rows(), 4);
  Rows brief = Rows::parse({R"({"observations": [[0],[1]], "actions": [[0.1],[0.2]]})"});
  EXPECT_NE(testing::message_of([&] { actor->demonstrations(brief); }).find("at least the 3 actions"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::chain_actor_test
