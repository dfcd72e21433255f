#include "rft/train/optimizer.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "support.h"

namespace rft {
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
        optimizer->load_state(saved);
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

TEST(LearningRate, WarmsUpByRatioAndStopsAtTheFloor) {
  ScheduleOptions schedule;
  schedule.warmup_ratio = 0.25, schedule.min_ratio = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 2.0, 1, 8), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 2.0, 2, 8), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 2.0, 1000, 8), 0.2);
}

}  // namespace
}  // namespace rft
