#include "rft/train/optimizer.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <set>

#include "rft/train/adaptive_rate.h"
#include "support.h"

namespace rft::optimizer_test {
namespace {

nlohmann::json golden() {
  return nlohmann::json::parse(testing::read_file(testing::fixture("parity/data/train/optimizer.json")));
}

Tensor tensor_of(const nlohmann::json& json, at::IntArrayRef shape) {
  return at::tensor(json.get<std::vector<double>>(), at::kDouble).to(at::kFloat).view(shape);
}

TEST(Optimizer, TakesPyTorchsAdamWSteps) {
  auto data = golden();
  std::vector<Parameter> parameters{{"bias", tensor_of(data["bias"], {4}).requires_grad_(), false},
                                    {"weight", tensor_of(data["weight"], {3, 4}).requires_grad_(), true}};
  auto bias = parameters[0].value, weight = parameters[1].value;
  OptimizerOptions options;
  options.beta2 = 0.95, options.eps = 1e-7, options.weight_decay = 0.1;
  Optimizer optimizer(parameters, options);
  for (const auto& step : data["steps"]) {
    optimizer.zero_grad();
    // The gradients arrive through autograd, as in training.
    weight.mul(tensor_of(step["grads"][0], {3, 4}))
        .sum()
        .add(bias.mul(tensor_of(step["grads"][1], {4})).sum())
        .backward();
    double norm = optimizer.grad_norm();
    EXPECT_NEAR(norm, step["norm"].get<double>(), 1e-6);
    if (1.0 / (norm + 1e-6) < 1) optimizer.scale_grad(1.0 / (norm + 1e-6));
    optimizer.step(0.01);
    EXPECT_TRUE(at::allclose(weight, tensor_of(step["values"][0], {3, 4}), 1e-6, 1e-7));
    EXPECT_TRUE(at::allclose(bias, tensor_of(step["values"][1], {4}), 1e-6, 1e-7));
  }
}

TEST(Optimizer, GroupsStepForThemselves) {
  auto weight = [](double x) { return at::full({3}, x, at::kFloat).requires_grad_(); };
  std::vector<Parameter> both{{"actor", weight(1), true, groups::policy}, {"q", weight(2), true, groups::critic}};
  std::vector<Parameter> alone{{"q", weight(2), true, groups::critic}};
  OptimizerOptions options;
  options.lr = 0.01, options.critic_lr = 0.05;
  Optimizer optimizer(both, options), other(alone, options);
  for (int step = 0; step < 3; ++step) {
    optimizer.zero_grad(), other.zero_grad();
    both[0].value.square().sum().add(both[1].value.square().sum()).backward();
    alone[0].value.square().sum().backward();
    // The policy is left out of two steps of three: neither it nor its moments move.
    optimizer.step(0.01, step == 2 ? std::set<std::string>{} : std::set<std::string>{groups::critic});
    other.step(0.01);
    if (step < 2) EXPECT_TRUE(both[0].value.equal(at::ones({3})));
  }
  EXPECT_TRUE(both[1].value.equal(alone[0].value));
  EXPECT_NEAR(both[0].value[0].item<double>(), 0.99, 1e-5);      // a first step of Adam is lr long
  EXPECT_NEAR(both[1].value[0].item<double>(), 2 - 0.15, 1e-3);  // three steps of critic_lr
}

TEST(Optimizer, StateContinuesBitForBit) {
  auto run = [](int64_t stop_after, int64_t steps) {
    auto make = [] { return std::vector<Parameter>{{"w", at::linspace(-1, 1, 64).requires_grad_(), true}}; };
    auto parameters = make();
    auto w = parameters[0].value;
    auto optimizer = std::make_unique<Optimizer>(parameters, OptimizerOptions{});
    for (int64_t i = 0; i < steps; ++i) {
      if (i == stop_after) {
        State saved;
        for (const auto& [name, value] : optimizer->state()) saved[name] = value.clone();
        auto fresh = make();
        fresh[0].value.set_data(w.detach().clone());
        w = fresh[0].value;
        optimizer = std::make_unique<Optimizer>(fresh, OptimizerOptions{});
        optimizer->load_state({saved});
      }
      optimizer->zero_grad();
      w.pow(3).sum().backward();
      optimizer->step(0.05);
    }
    return w.detach().clone();
  };
  EXPECT_TRUE(at::equal(run(-1, 9), run(4, 9)));
}

TEST(Optimizer, KeepsAFloat32MasterForBfloat16) {
  std::vector<Parameter> parameters{{"w", at::ones({8}, at::kBFloat16).requires_grad_(), true}};
  auto w = parameters[0].value;
  Optimizer optimizer(parameters, {});
  for (int i = 0; i < 100; ++i) {
    optimizer.zero_grad();
    w.sum().backward();
    optimizer.step(1e-4);  // each step is below half a bfloat16 ulp of 1
  }
  EXPECT_NEAR(w[0].item<float>(), 0.99f, 0.004f);
  EXPECT_TRUE(optimizer.state().count("master"));
}

TEST(LearningRate, EqualsTransformersSchedules) {
  auto data = golden();
  for (const char* type : {"linear", "cosine", "inverse_sqrt", "constant"})
    for (int64_t warmup : {0, 4}) {
      ScheduleOptions schedule;
      schedule.type = type, schedule.warmup_steps = warmup;
      std::string name = std::string(type) == "constant" ? "constant_with_warmup" : type;
      auto rates = data["schedules"][name + "/" + std::to_string(warmup)];
      for (int64_t step = 0; step < 20; ++step)
        EXPECT_NEAR(learning_rate(schedule, 1.0, step, 20), rates[step].get<double>(), 1e-12)
            << name << " " << warmup << " " << step;
    }
}

/// rsl_rl's rule, its update() one minibatch after another, with its bounds.
TEST(LearningRate, FollowsHowFarThePolicyMoves) {
  AdaptiveRate rate({.type = "adaptive"}, 1e-3);
  auto next = [&](double kl) {
    Metrics found;
    found.add("approx_kl", kl);
    return rate.next(found);
  };
  EXPECT_DOUBLE_EQ(rate.rate(), 1e-3);
  EXPECT_DOUBLE_EQ(next(0.0201), 1e-3 / 1.5);
  EXPECT_DOUBLE_EQ(next(0.0199), 1e-3 / 1.5);
  EXPECT_DOUBLE_EQ(next(0.0051), 1e-3 / 1.5);
  EXPECT_NEAR(next(0.0049), 1e-3, 1e-18);
  for (int i = 0; i < 20; ++i) next(0);
  EXPECT_DOUBLE_EQ(rate.rate(), 1e-2);
  AdaptiveRate restored({.type = "adaptive"}, 1e-3);
  restored.load_state(rate.state());
  EXPECT_EQ(restored.rate(), rate.rate());
  for (int i = 0; i < 40; ++i) next(1);
  EXPECT_DOUBLE_EQ(rate.rate(), 1e-5);
}

TEST(LearningRate, AdaptiveRefusesWhatItWouldIgnore) {
  EXPECT_NE(
      testing::message_of([] { AdaptiveRate({.type = "adaptive", .warmup_steps = 3}, 1e-3); }).find("warmup_steps"),
      std::string::npos);
  EXPECT_NE(testing::message_of([] { AdaptiveRate({.type = "adaptive"}, 0.1); }).find("max_lr"), std::string::npos);
  EXPECT_NE(testing::message_of([] { AdaptiveRate({.type = "adaptive"}, 1e-3).next({}); }).find("approx_kl"),
            std::string::npos);
}

TEST(LearningRate, WarmsUpByRatioAndStopsAtTheFloor) {
  ScheduleOptions schedule;
  schedule.warmup_ratio = 0.25, schedule.min_ratio = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 2.0, 1, 8), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 2.0, 2, 8), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 2.0, 1000, 8), 0.2);
}

}  // namespace
}  // namespace rft::optimizer_test
