// An actor that remembers: torch's cells; the judge goes along a row as the sampler went; over episodes' ends.
#include "rft/policy/recurrent_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "support.h"

namespace rft::recurrent_actor_test {
namespace {

EnvironmentSpec world_of(bool discrete) {
  EnvironmentSpec out;
  out.name = "box", out.observation = 3;
  if (discrete)
    out.action.choices = 4;
  else
    out.action.low = {-1, -2}, out.action.high = {1, 3};
  return out;
}

std::unique_ptr<RecurrentActor> make(const std::string& yaml, bool discrete, const Needs& needs) {
  auto out = std::make_unique<RecurrentActor>(read_options<RecurrentActor::Options>(Config::parse(yaml)));
  out->enter(world_of(discrete), needs, 7);
  return out;
}

double furthest(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

TEST(Recurrent, IsTorchsLayer) {
  at::manual_seed(2);
  for (std::string type : {"lstm", "gru"}) {
    Recurrent cell(type, 3, 5, 1);
    std::vector<Tensor> weights;
    for (auto& [name, value] : cell.tensors("x")) weights.push_back(value.detach());
    Tensor x = at::randn({4, 6, 3}), zeros = at::zeros({1, 4, 5});
    Tensor expected = type == "lstm"
                          ? std::get<0>(at::lstm(x, {zeros, zeros}, weights, true, 1, 0.0, false, false, true))
                          : std::get<0>(at::gru(x, zeros, weights, true, 1, 0.0, false, false, true));
    Tensor got = cell.run(x, at::zeros({4, cell.state_size()}), at::ones({4, 6}));
    EXPECT_LE(furthest(got, expected), 1e-6) << type;
  }
}

/// Over a sequence in which the state is forgotten twice, from a state that is not zero: outputs and gradients of all
/// weights are those of torch's cells, step by step.
TEST(Recurrent, ItsGradientIsThatOfTorchsCells) {
  at::manual_seed(4);
  for (std::string type : {"lstm", "gru"}) {
    Recurrent cell(type, 3, 5, 1);
    Tensor x = at::randn({4, 7, 3}), state = at::randn({4, cell.state_size()}), keep = at::ones({4, 7});
    keep[1][3] = 0, keep[2][0] = 0;
    Tensor weight = at::randn({4, 7, 5});
    auto gradients = [&](const Tensor& out) {
      for (auto& [name, value] : cell.tensors("x")) Tensor(value).mutable_grad() = Tensor();
      out.mul(weight).sum().backward();
      std::vector<Tensor> all;
      for (auto& [name, value] : cell.tensors("x")) all.push_back(value.grad().flatten());
      return at::cat(all);
    };
    std::vector<Tensor> steps;
    Tensor now = state;
    for (int64_t t = 0; t < 7; ++t) {
      now = cell.step(x.select(1, t), now.mul(keep.narrow(1, t, 1)));
      steps.push_back(cell.output(now));
    }
    Tensor slow = at::stack(steps, 1), fast = cell.run(x, state, keep);
    EXPECT_LE(furthest(fast, slow), 1e-6) << type;
    Tensor expected = gradients(slow);
    EXPECT_LE(furthest(gradients(fast), expected), 1e-5 * expected.abs().max().item<double>()) << type;
  }
}

/// 12 decisions of 4 agents, of whom two begin a new episode on the way.
TEST(RecurrentActor, TheJudgeGoesAlongTheRowAsTheSamplerWent) {
  at::manual_seed(1);
  Needs needs;
  needs.entropy = needs.value = needs.ref_logp = true;
  const int64_t B = 4, T = 12;
  for (bool discrete : {false, true})
    for (std::string cell : {"lstm", "gru"}) {
      auto actor = make("{memory_size: 9, hidden: [8], cell: " + cell + "}", discrete, needs);
      for (auto& parameter : actor->parameters()) {
        at::NoGradGuard no_grad;
        parameter.value.add_(at::randn_like(parameter.value), 0.2);
      }
      Tensor last = at::zeros({B, T}, at::kBool);
      last[1][4] = true, last[3][0] = true, last[3][7] = true;
      Tensor memory = at::randn({B, actor->memory()}).mul(0.3);
      Experience row;
      row.context.set(extra::memory, memory), row.extra.set(extra::last, last);
      std::vector<Tensor> observations, actions, logps, values;
      for (int64_t t = 0; t < T; ++t) {
        std::vector<uint64_t> keys;
        for (int64_t i = 0; i < B; ++i) keys.push_back(mix(static_cast<uint64_t>(t), static_cast<uint64_t>(i)));
        Decisions d = actor->act_from(memory, at::randn({B, 3}, at::kDouble), keys, false, true);
        observations.push_back(d.observation), actions.push_back(d.action);
        logps.push_back(d.logp), values.push_back(d.value);
        memory = d.memory.mul(last.select(1, t).logical_not().unsqueeze(1));
      }
      row.context.set(extra::observation, at::stack(observations, 1));
      row.action = at::stack(actions, 1), row.logp = at::stack(logps, 1), row.mask = at::ones({B, T}, at::kBool);
      Evaluation now = actor->evaluate(row, needs);
      EXPECT_LE(furthest(now.logp, row.logp), 1e-5) << cell;
      EXPECT_LE(furthest(now.value, at::stack(values, 1)), 1e-5) << cell;
      EXPECT_EQ(now.entropy.sizes(), row.mask.sizes());
      EXPECT_GT(furthest(actor->ref_logp(row, needs), row.logp), 1e-3);
      // What was remembered matters, and so does where episodes ended.
      Experience forgetful = row;
      forgetful.extra.erase(extra::last);
      EXPECT_GT(furthest(actor->evaluate(forgetful, needs).logp[3], row.logp[3]), 1e-4);
      EXPECT_LE(furthest(actor->evaluate(forgetful, needs).logp[0], row.logp[0]), 1e-5);
      // Rows do not depend on one another.
      EXPECT_LE(furthest(actor->evaluate(row.narrow(2, 1), needs).logp, row.logp.narrow(0, 2, 1)), 1e-5);
      EXPECT_THROW(actor->decisions(row), UserError);
    }
}

TEST(RecurrentActor, ADirectoryBringsBackTheSameActor) {
  Needs needs;
  needs.value = true;
  testing::TempDir dir;
  auto actor = make("{hidden: [8], memory_size: 6}", false, needs);
  Tensor seen = at::randn({5, 3}, at::kDouble).add(3), memory = at::randn({5, actor->memory()});
  actor->act_from(memory, seen, {1, 2, 3, 4, 5}, false, true);
  actor->save(dir.path());
  auto again = make("{hidden: [8], memory_size: 6, path: " + dir.path() + "}", false, needs);
  Decisions a = actor->act_from(memory, seen, {1, 2, 3, 4, 5}, false, false),
            b = again->act_from(memory, seen, {1, 2, 3, 4, 5}, false, false);
  EXPECT_TRUE(a.action.equal(b.action));
  EXPECT_TRUE(a.memory.equal(b.memory));
  EXPECT_TRUE(a.value.equal(b.value));
  EXPECT_NE(testing::message_of([&] {
              make("{hidden: [8], memory_size: 6, cell: gru, path: " + dir.path() + "}", false, needs);
            }).find("lstm"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::recurrent_actor_test
