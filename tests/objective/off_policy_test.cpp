// SAC, TD3 and DQN against Stable-Baselines3's own code, IQL and Cal-QL against their authors' formulas; what every
// objective must be.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <nlohmann/json.hpp>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/objective/dqn.h"
#include "rft/objective/iql.h"
#include "rft/objective/sac.h"
#include "rft/objective/td3.h"
#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::off_policy_test {
namespace {

using Json = nlohmann::json;

Tensor tensor_of(const Json& json) {
  std::vector<int64_t> shape;
  for (const Json* at = &json; at->is_array(); at = &(*at)[0]) shape.push_back(static_cast<int64_t>(at->size()));
  std::vector<double> flat;
  std::function<void(const Json&)> walk = [&](const Json& x) {
    if (!x.is_array()) return flat.push_back(x.get<double>());
    for (const Json& part : x) walk(part);
  };
  walk(json);
  return at::tensor(flat, at::kDouble).view(shape);
}

Config options_of(const Json& one) {
  Json options = one["options"];
  options["type"] = one["type"];
  return Config::parse(options.dump());
}

/// Rows of one decision each.
struct Case {
  Evaluation now;
  Experience batch;
  std::map<std::string, Tensor> inputs;  ///< as the file has them: [N, ...]
};

Case read_case(const Json& one, int64_t actions) {
  Case out;
  Tensor reward = tensor_of(one["batch"]["reward"]);
  int64_t N = reward.size(0);
  out.batch.reward = reward.unsqueeze(1);
  out.batch.mask = at::ones({N, 1}, at::kBool);
  bool choices = one["type"] == "dqn";
  out.batch.action = at::zeros({N, 1, choices ? 1 : actions}, choices ? at::kLong : at::kDouble);
  out.batch.extra.set(extra::terminated, tensor_of(one["batch"]["terminated"]).gt(0.5).unsqueeze(1));
  if (one["batch"].contains("returns"))
    out.batch.extra.set(extra::returns, tensor_of(one["batch"]["returns"]).unsqueeze(1));
  out.batch.fill_totals();
  for (const auto& [name, values] : one["now"].items()) {
    Tensor x = tensor_of(values).requires_grad_(one["grads"].contains(name));
    out.inputs[name] = x;
    if (name == "value")
      out.now.value = x.unsqueeze(1);
    else if (name == "logp")
      out.now.logp = x.unsqueeze(1);
    else
      out.now.extra.set(name, x.unsqueeze(1));
  }
  return out;
}

TEST(OffPolicy, LossesAndGradientsAreThePeers) {
  Json file = Json::parse(testing::read_file(testing::fixture("parity/data/off_policy.json")));
  register_builtins();
  for (const Json& one : file["cases"]) {
    SCOPED_TRACE(one["name"].get<std::string>());
    Case c = read_case(one, file["actions"]);
    auto objective = registry<Objective>().make(options_of(one));
    Loss loss = objective->loss(c.now, c.batch);
    EXPECT_NEAR(loss.total().item<double>(), one["loss"].get<double>(), 1e-6);  // Sac keeps log(alpha) in float32
    loss.total().backward();
    for (const auto& [name, expected] : one["grads"].items()) {
      Tensor want = tensor_of(expected), got = c.inputs.at(name).grad();
      if (!got.defined()) got = at::zeros_like(want);
      EXPECT_LE(got.sub(want).abs().max().item<double>(), 1e-7) << name;
    }
    auto trained = objective->parameters();
    if (one.contains("temperature_grad") && !one["temperature_grad"].is_null()) {
      ASSERT_EQ(trained.size(), 1u);
      EXPECT_NEAR(trained[0].value.grad().item<double>(), one["temperature_grad"].get<double>(), 1e-6);
    } else {
      EXPECT_TRUE(trained.empty());
    }
  }
}

/// What the policy says of the six ragged rows of the policy-gradient example, with three critics.
testing::Example transitions_example() {
  testing::Example out = testing::policy_gradient_example();
  at::Generator g = at::detail::createCPUGenerator(8);
  auto noise = [&](std::vector<int64_t> rest) {
    rest.insert(rest.begin(), {6, 5});
    return at::randn(rest, g, at::TensorOptions().dtype(at::kDouble));
  };
  out.batch.action = noise({2});
  out.batch.reward = noise({});
  out.batch.extra.set(extra::terminated, noise({}).gt(0.8));
  out.batch.extra.set(extra::returns, noise({}));
  out.now.entropy = Tensor();
  out.now.value = noise({});
  out.now.extra.set(extra::next_value, noise({}));
  for (const char* name : {extra::actor_logp, extra::next_logp}) out.now.extra.set(name, noise({}));
  for (const char* name : {extra::q, extra::target_q, extra::next_q, extra::actor_q})
    out.now.extra.set(name, noise({3}));
  out.now.extra.set(extra::sampled_q, noise({3, 6})), out.now.extra.set(extra::sampled_logp, noise({6}));
  return out;
}

template <class T>
testing::ObjectiveCase case_of(const std::string& name, typename T::Options options) {
  testing::ObjectiveCase c;
  c.name = name;
  c.make = [options] { return std::make_unique<T>(options); };
  c.example = transitions_example;
  c.differentiable = false;  // targets are held constant; the peers' gradients are compared above
  return c;
}

TEST(OffPolicy, IsWhatEveryObjectiveMustBe) {
  testing::check_objective(case_of<Sac>("sac", {}));
  testing::check_objective(case_of<Td3>("td3", {.policy_delay = 1}));
  testing::check_objective(case_of<Iql>("iql", {}));
  CalQl::Options cal;
  cal.cql_samples = 2;
  testing::check_objective(case_of<CalQl>("cal_ql", cal));
  testing::ObjectiveCase choices = case_of<Dqn>("dqn", {});
  choices.example = [] {
    testing::Example out = transitions_example();
    out.batch.action = at::zeros({6, 5, 1}, at::kLong);
    return out;
  };
  testing::check_objective(choices);
}

/// Huber's loss of what is lacking, and its slope, written out; numbers are refused.
TEST(OffPolicy, DqnIsHubersLossOfTheTemporalDifference) {
  Experience batch;
  batch.action = at::zeros({4, 1, 1}, at::kLong), batch.mask = at::ones({4, 1}, at::kBool);
  batch.reward = at::tensor({1.0, 1.0, -2.0, 0.5}, at::kDouble).view({4, 1});
  batch.extra.set(extra::terminated, at::tensor({0, 1, 0, 0}).gt(0).view({4, 1}));
  batch.fill_totals();
  Tensor q = at::tensor({0.5, 0.7, 3.0, -4.0}, at::kDouble).view({4, 1, 1}).requires_grad_(true),
         next = at::full({4, 1, 1}, 2.0, at::kDouble);
  Evaluation now;
  now.extra.set(extra::q, q), now.extra.set(extra::next_q, next);
  Dqn({.gamma = 0.5}).loss(now, batch).total().backward();
  // y = 2, 1, -1, 1.5; q - y = -1.5, -0.3, 4, -5.5
  EXPECT_NEAR(Dqn({.gamma = 0.5}).loss(now, batch).total().item<double>(), (1.0 + 0.045 + 3.5 + 5.0) / 4, 1e-12);
  EXPECT_TRUE(q.grad().flatten().allclose(at::tensor({-0.25, -0.075, 0.25, -0.25}, at::kDouble)));
  batch.action = at::zeros({4, 1, 1}, at::kDouble);
  EXPECT_NE(testing::message_of<UserError>([&] { Dqn({}).loss(now, batch); }).find("sac"), std::string::npos);
}

/// A decision of n steps looks n steps ahead; with one step each, `duration` changes nothing.
TEST(OffPolicy, ChunksOfActionsAreDiscountedByTheStepsTheyLast) {
  Experience batch;
  batch.action = at::zeros({3, 1, 2}, at::kDouble), batch.mask = at::ones({3, 1}, at::kBool);
  batch.reward = at::tensor({1.0, 2.0, 3.0}, at::kDouble).view({3, 1});
  batch.extra.set(extra::terminated, at::tensor({0, 0, 1}).gt(0).view({3, 1}));
  batch.extra.set(extra::duration, at::tensor({3.0f, 1.0f, 2.0f}).view({3, 1}));
  batch.fill_totals();
  Evaluation now;
  for (const char* name : {extra::q, extra::next_q, extra::actor_q})
    now.extra.set(name, at::full({3, 1, 1}, 4.0, at::kDouble));
  for (const char* name : {extra::next_logp, extra::actor_logp}) now.extra.set(name, at::zeros({3, 1}, at::kDouble));
  // y = 1 + 4 / 8, 2 + 4 / 2, 3
  double squares = (2.5 * 2.5 + 0 + 1) / 3;
  EXPECT_NEAR(Sac({.gamma = 0.5, .critics = 1, .temperature = 1}).loss(now, batch).terms[0].value.item<double>(),
              squares / 2, 1e-12);
  EXPECT_NEAR(Td3({.gamma = 0.5, .critics = 1}).loss(now, batch).terms[0].value.item<double>(), squares, 1e-12);
}

TEST(OffPolicy, EachTermSaysWhomItTrains) {
  testing::Example e = transitions_example();
  Td3 td3({.policy_delay = 2});
  Loss first = td3.loss(e.now, e.batch);
  td3.stepped({});
  Loss second = td3.loss(e.now, e.batch);
  ASSERT_EQ(first.terms.size(), 1u);
  EXPECT_EQ(first.terms[0].trains, std::vector<std::string>{groups::critic});
  ASSERT_EQ(second.terms.size(), 2u);
  EXPECT_EQ(second.terms[1].trains, std::vector<std::string>{groups::policy});
  Td3 restored({.policy_delay = 2});
  restored.load_state(td3.state());
  EXPECT_EQ(restored.loss(e.now, e.batch).terms.size(), 2u);
}

}  // namespace
}  // namespace rft::off_policy_test
