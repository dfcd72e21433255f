#include "rft/diffusion/scheduler.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numbers>

#include "support.h"

namespace rft::scheduler_test {
namespace {

using testing::message_of;

std::unique_ptr<Scheduler> made(const std::string& fields, const std::string& name = "") {
  return make_scheduler("{" + fields + "}", name, "scheduler_config.json");
}

const char* kDdim = R"("_class_name": "DDIMScheduler", "clip_sample": false)";
const char* kFlow = R"("_class_name": "FlowMatchEulerDiscreteScheduler")";

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(StepLogp, IsTheNormalLogDensitySummedOrAveraged) {
  Transition step{at::zeros({2, 1, 1, 3}, at::kDouble), 0.5, {}};
  Tensor next = at::tensor({0.0, 0.5, -1.0, 0.1, 0.2, 0.3}, at::kDouble).view({2, 1, 1, 3});
  double constant = std::log(0.5) + 0.5 * std::log(2 * std::numbers::pi);
  double first = -0.5 * (0 + 1 + 4) - 3 * constant, second = -0.5 * (0.04 + 0.16 + 0.36) - 3 * constant;
  Tensor sum = step_logp(step, next, false), mean = step_logp(step, next, true);
  EXPECT_NEAR(sum[0].item<double>(), first, 1e-12);
  EXPECT_NEAR(sum[1].item<double>(), second, 1e-12);
  EXPECT_NEAR(mean[1].item<double>(), second / 3, 1e-12);
}

TEST(StepLogp, TakesAStandardDeviationForEachNumber) {
  Transition step{at::zeros({1, 1, 1, 2}, at::kDouble), 1, {}, at::tensor({0.5, 2.0}, at::kDouble).view({1, 1, 1, 2})};
  Tensor next = at::ones({1, 1, 1, 2}, at::kDouble);
  double wanted = -0.5 * 4 - std::log(0.5) - 0.5 * 0.25 - std::log(2.0) - std::log(2 * std::numbers::pi);
  EXPECT_NEAR(step_logp(step, next, false).item<double>(), wanted, 1e-12);
  EXPECT_TRUE(at::equal(draw_next(step, next).flatten(), at::tensor({0.5, 2.0}, at::kDouble)));
}

TEST(StepLogp, RefusesADeterministicStepAndComputesHalfPrecisionInFloat) {
  Transition step{at::zeros({1, 1}), 0, {}};
  EXPECT_TRUE(contains(message_of<RunError>([&] { step_logp(step, step.mean, true); }), "deterministic"));
  Transition half{at::zeros({1, 4}, at::kBFloat16), 0.3, {}};
  EXPECT_EQ(step_logp(half, half.mean, false).scalar_type(), at::kFloat);
}

/// The model's answer scale * x + shift makes every run of Gaussian steps Gaussian.
TEST(StepLogp, OfALinearModelIsTheClosedForm) {
  auto scheduler = made(kDdim);
  auto plan = scheduler->plan(10);
  const double scale = 0.9, shift = 0.1;
  StepHistory history;
  for (int64_t i = 0; i + 1 < plan.steps(); ++i) {
    double t = plan.timesteps[static_cast<size_t>(i)];
    auto share = [](double last) {
      double product = 1;
      for (int k = 0; k <= last; ++k) product *= 1 - (1e-4 + k / 999.0 * (0.02 - 1e-4));
      return product;
    };
    double a = share(t), b = share(t - 100), var = (1 - b) / (1 - a) * (1 - a / b);
    Tensor x = at::full({1, 1, 1, 1}, 0.7, at::kDouble), next = at::full({1, 1, 1, 1}, -0.2, at::kDouble);
    double e = scale * 0.7 + shift, clean = (0.7 - std::sqrt(1 - a) * e) / std::sqrt(a);
    double mean = std::sqrt(b) * clean + std::sqrt(1 - b - var) * e;
    double wanted = -0.5 * (std::pow(-0.2 - mean, 2) / var + std::log(2 * std::numbers::pi * var));
    Transition step = scheduler->step(plan, i, x.mul(scale).add(shift), x, {"default", 1}, history);
    EXPECT_NEAR(step_logp(step, next, false).item<double>(), wanted, 2e-4 * std::max(1.0, std::abs(wanted))) << i;
  }
}

/// Gradients of step() in output and x against central differences.
void expect_gradients(const Scheduler& scheduler, const StepOptions& options, int64_t channels,
                      const std::string& text) {
  auto plan = scheduler.plan(10, 1024);
  at::manual_seed(3);
  Tensor x = at::randn({1, 2, 2, 2}, at::kDouble), output = at::randn({1, channels, 2, 2}, at::kDouble).abs();
  Tensor weight = at::randn({1, 2, 2, 2}, at::kDouble), next = at::randn({1, 2, 2, 2}, at::kDouble);
  for (int64_t i : {int64_t{0}, int64_t{4}, int64_t{9}}) {
    auto value = [&](const Tensor& o, const Tensor& s) {
      StepHistory history;
      if (scheduler.multistep() && i > 0) history.outputs = {at::full_like(x, 0.3)};
      Transition step = scheduler.step(plan, i, o, s, options, history);
      Tensor sum = step.mean.mul(weight).sum().add(step.denoised.sum());
      return step.std > 1e-3 ? sum.add(step_logp(step, next, true).sum()) : sum;
    };
    Tensor o = output.clone().requires_grad_(true), s = x.clone().requires_grad_(true);
    value(o, s).backward();
    for (const auto& [leaf, first] : {std::pair{o, true}, std::pair{s, false}}) {
      Tensor wanted = at::zeros_like(leaf);
      for (int64_t k = 0; k < leaf.numel(); ++k) {
        Tensor bump = at::zeros_like(leaf);
        bump.view(-1)[k] = 1e-5;
        auto at_offset = [&](double sign) {
          at::NoGradGuard no_grad;
          return value(first ? o.add(bump, sign) : o, first ? s : s.add(bump, sign)).item<double>();
        };
        wanted.view(-1)[k] = (at_offset(1) - at_offset(-1)) / 2e-5;
      }
      Tensor got = leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
      double size = std::max(1.0, wanted.abs().max().item<double>());
      EXPECT_LT(got.sub(wanted).abs().max().item<double>() / size, 1e-6) << text << " step " << i;
    }
  }
}

TEST(Schedulers, StepsHaveTheGradientsOfFiniteDifferences) {
  for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
    std::string rest = std::string(R"(, "clip_sample": false, "prediction_type": ")") + prediction + "\"";
    for (const char* name : {"DDIM", "DDPM", "EulerDiscrete", "DPMSolverMultistep", "LCM"})
      expect_gradients(*made(std::string(R"("_class_name": ")") + name + "Scheduler\"" + rest),
                       {"default", name == std::string("DDIM") ? 0.6 : 0}, 2, std::string(name) + prediction);
  }
  for (const char* type : {"learned", "learned_range"})
    expect_gradients(
        *made(std::string(R"("_class_name": "DDPMScheduler", "clip_sample": false, "variance_type": ")") + type + "\""),
        {}, 4, type);
  for (const char* sde : {"default", "flow_grpo", "dance", "cps"}) expect_gradients(*made(kFlow), {sde, 0.6}, 2, sde);
}

TEST(Schedulers, FlowSdesWithoutNoiseAreTheOde) {
  auto scheduler = made(kFlow);
  auto plan = scheduler->plan(8);
  Tensor x = at::randn({1, 2, 2, 2}, at::kDouble), v = at::randn({1, 2, 2, 2}, at::kDouble);
  StepHistory history;
  for (int64_t i = 0; i < 8; ++i) {
    Tensor ode = scheduler->step(plan, i, v, x, {}, history).mean;
    for (const char* sde : {"flow_grpo", "dance", "cps"}) {
      Transition step = scheduler->step(plan, i, v, x, {sde, 0}, history);
      EXPECT_EQ(step.std, 0) << sde;
      EXPECT_LT(step.mean.sub(ode).abs().max().item<double>(), 1e-6) << sde;
    }
  }
}

/// Data N(2, 0.25) has the exact velocity E[noise - clean | x], linear in x, so that every level's distribution is
/// known: mean 2 (1 - sigma), variance 0.25 (1 - sigma)^2 + sigma^2. Mean and variance are followed exactly, and
/// compared from the level `below` on.
double marginal_error(const std::string& sde, double eta, int64_t steps, double data, double below) {
  auto scheduler = made(std::string(kFlow) + R"(, "num_train_timesteps": 100000)");
  auto plan = scheduler->plan(steps);
  double mean = 0, variance = 1, worst = 0;
  StepHistory history;
  for (int64_t i = 0; i < steps; ++i) {
    double sigma = plan.sigmas[static_cast<size_t>(i)], to = plan.sigmas[static_cast<size_t>(i) + 1];
    double total = data * (1 - sigma) * (1 - sigma) + sigma * sigma, slope = (sigma - data * (1 - sigma)) / total;
    Tensor x = at::tensor({0.0, 1.0}, at::kDouble).view({2, 1, 1, 1});
    Tensor velocity = x.sub(2 * (1 - sigma)).mul(slope).sub(2);
    Transition step = scheduler->step(plan, i, velocity, x, {sde, eta}, history);
    double at_zero = step.mean[0].item<double>(), gain = step.mean[1].item<double>() - at_zero;
    mean = at_zero + gain * mean, variance = gain * gain * variance + step.std * step.std;
    double wanted = data * (1 - to) * (1 - to) + to * to;
    if (to < below) worst = std::max({worst, std::abs(mean - 2 * (1 - to)), std::abs(variance - wanted)});
  }
  return worst;
}

TEST(Schedulers, FlowSdesKeepTheMarginalsOfTheOde) {
  EXPECT_LT(marginal_error("default", 0, 4000, 0.25, 2), 2e-3);
  for (double eta : {0.3, 0.7, 1.0}) {
    EXPECT_LT(marginal_error("dance", eta, 4000, 0.25, 2), 4e-3) << eta;
    // Its diffusion has no bound at sigma = 1, so that the first steps are rough however many there are.
    double coarse = marginal_error("flow_grpo", eta, 2000, 0.25, 0.9),
           fine = marginal_error("flow_grpo", eta, 8000, 0.25, 0.9);
    EXPECT_LT(fine, 8e-3) << eta;
    EXPECT_LT(fine, 0.9 * coarse) << eta;
  }
}

/// It keeps the coefficients: where the model knows clean sample and noise, in any number of steps.
TEST(Schedulers, CpsKeepsTheMarginalsOfOneDataPoint) {
  for (int64_t steps : {2, 5, 50})
    for (double eta : {0.0, 0.5, 1.0}) EXPECT_LT(marginal_error("cps", eta, steps, 0, 2), 1e-6) << eta << steps;
}

TEST(Schedulers, TrainingTimestepsAreTheTrainedOnes) {
  Tensor u = at::tensor({0.0, 0.0005, 0.0011, 0.5, 0.99999}, at::kDouble);
  EXPECT_TRUE(at::equal(made(kDdim)->training_timesteps(u), at::tensor({0.0F, 0.0F, 1.0F, 500.0F, 999.0F})));
  EXPECT_TRUE(at::equal(made(kFlow)->training_timesteps(u), at::tensor({1.0F, 1.0F, 2.0F, 501.0F, 1000.0F})));
  Tensor shifted = made(std::string(kFlow) + R"(, "shift": 3.0)")->training_timesteps(u);
  EXPECT_NEAR(shifted[3].item<double>(), 1000 * 3 * 0.501 / (1 + 2 * 0.501), 1e-3);
}

TEST(Schedulers, FlowNoisedSamplesTargetsAndEstimatesAreLinear) {
  auto scheduler = made(kFlow);
  Tensor clean = at::randn({2, 1, 2, 2}), noise = at::randn({2, 1, 2, 2}), t = at::tensor({250.0F, 1000.0F});
  Tensor x = scheduler->add_noise(clean, noise, t), target = scheduler->target(clean, noise, t);
  EXPECT_LT(x[0].sub(clean[0].mul(0.75).add(noise[0].mul(0.25))).abs().max().item<double>(), 1e-6);
  EXPECT_TRUE(at::allclose(x[1], noise[1]));
  EXPECT_TRUE(at::equal(target, noise.sub(clean)));
  EXPECT_TRUE(at::allclose(scheduler->denoised(x, target, t), clean, 1e-5, 1e-5));
}

TEST(Schedulers, LargeLogVarianceIsTheLargeOne) {
  // diffusers takes the square root of its logarithm, which is not a number.
  StepHistory history;
  auto plain = made(R"("_class_name": "DDPMScheduler", "variance_type": "fixed_large")");
  auto log = made(R"("_class_name": "DDPMScheduler", "variance_type": "fixed_large_log")");
  auto plan = plain->plan(10);
  Tensor x = at::zeros({1, 1, 1, 1});
  EXPECT_GT(plain->step(plan, 3, x, x, {}, history).std, 0.1);
  EXPECT_EQ(log->step(plan, 3, x, x, {}, history).std, plain->step(plan, 3, x, x, {}, history).std);
}

TEST(Schedulers, LearnedVarianceNeedsItsChannels) {
  auto scheduler = made(R"("_class_name": "DDPMScheduler", "variance_type": "learned_range")");
  EXPECT_TRUE(scheduler->learned_variance());
  StepHistory history;
  Tensor x = at::zeros({1, 3, 1, 1});
  auto plan = scheduler->plan(10);
  EXPECT_TRUE(contains(message_of([&] { scheduler->step(plan, 0, x, x, {}, history); }), "6 output channels"));
}

TEST(Schedulers, AVarianceOutputIsLeftAsideByTheOthers) {
  StepHistory history;
  auto scheduler = made(kDdim);
  auto plan = scheduler->plan(10);
  Tensor x = at::randn({1, 3, 2, 2}), output = at::randn({1, 6, 2, 2});
  EXPECT_TRUE(at::equal(scheduler->step(plan, 0, output, x, {}, history).mean,
                        scheduler->step(plan, 0, output.narrow(1, 0, 3), x, {}, history).mean));
}

TEST(Schedulers, OnlyHigherOrderSolversDependOnEarlierSteps) {
  for (const auto& name : scheduler_names()) {
    bool flow = name == "flow_match_euler";
    EXPECT_EQ(made(flow ? kFlow : kDdim, name)->multistep(), name == "dpmsolver++" || name == "pndm") << name;
    EXPECT_EQ(made(flow ? kFlow : kDdim, name)->flow(), flow) << name;
  }
  EXPECT_FALSE(made(std::string(kDdim) + R"(, "solver_order": 1)", "dpmsolver++")->multistep());
}

TEST(Schedulers, UnknownOnesAreNamedWithTheNearest) {
  EXPECT_TRUE(contains(message_of([] { made(kDdim, "dimm"); }), "did you mean 'ddim'"));
  std::string message = message_of([] { made(R"("_class_name": "UniPCMultistepScheduler")"); });
  EXPECT_TRUE(contains(message, "UniPCMultistepScheduler") && contains(message, "euler_ancestral")) << message;
  EXPECT_TRUE(contains(message_of([] { made(kFlow, "ddim"); }), "predict noise"));
  EXPECT_TRUE(contains(message_of([] { made(kDdim, "flow_match_euler"); }), "are flows"));
}

TEST(Schedulers, FieldsThatAreNotSupportedAreRefusedByName) {
  for (const char* field :
       {R"("thresholding": true)", R"("beta_schedule": "sigmoid")", R"("prediction_type": "flow_prediction")",
        R"("timestep_spacing": "log")", R"("no_such_field": 1)", R"("trained_betas": [0.1])"}) {
    std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    EXPECT_TRUE(contains(message_of([&] { made(std::string(kDdim) + ", " + field); }), "`" + name + "`")) << field;
  }
  for (const char* field : {"invert_sigmas", "use_beta_sigmas"})
    EXPECT_TRUE(contains(message_of([&] { made(std::string(kFlow) + ", \"" + field + "\": true"); }), field));
  for (const char* field : {"use_lu_lambdas", "use_flow_sigmas", "use_beta_sigmas"})
    EXPECT_TRUE(
        contains(message_of([&] { made(std::string(kDdim) + ", \"" + field + "\": true", "dpmsolver++"); }), field));
  EXPECT_TRUE(
      contains(message_of([] { made(std::string(kDdim) + R"(, "solver_order": 3)", "dpmsolver++"); }), "solver_order"));
}

TEST(Schedulers, PythonsInfinityInAFileIsRead) {
  EXPECT_EQ(made(R"("_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity)")->plan(10).steps(),
            10);
}

TEST(Schedulers, StepsOutsideTheRunAreRefused) {
  for (int64_t steps : {0, 1001}) EXPECT_TRUE(contains(message_of([&] { made(kDdim)->plan(steps); }), "1 to 1000"));
  for (int64_t steps : {0, 1001}) EXPECT_TRUE(contains(message_of([&] { made(kFlow)->plan(steps); }), "1 to 1000"));
  EXPECT_TRUE(contains(message_of([] { made(kDdim, "pndm")->plan(3); }), "at least 4 steps"));
  EXPECT_TRUE(contains(message_of([] { made(kDdim, "lcm")->plan(51); }), "original_inference_steps"));
  EXPECT_TRUE(
      contains(message_of([] { made(std::string(kDdim) + R"(, "steps_offset": 1)")->plan(1000); }), "steps_offset"));
  EXPECT_TRUE(
      contains(message_of([] { made(std::string(kFlow) + R"(, "use_dynamic_shifting": true)")->plan(4); }), "tokens"));
  EXPECT_TRUE(contains(
      message_of([] {
        made(std::string(kDdim) + R"(, "rescale_betas_zero_snr": true, "timestep_spacing": "trailing")")->plan(10);
      }),
      "rescale_betas_zero_snr"));
}

TEST(Schedulers, ARunHasAsManyStepsAsAskedFor) {
  for (const char* spacing : {"leading", "linspace", "trailing"})
    for (const char* name : {"ddim", "euler", "dpmsolver++"})
      for (int64_t steps : {1, 3, 61, 103, 999}) {
        auto plan = made(std::string(kDdim) + R"(, "timestep_spacing": ")" + spacing + "\"", name)->plan(steps);
        EXPECT_EQ(plan.steps(), steps) << spacing << name;
        EXPECT_GE(plan.timesteps.back(), 0) << spacing << name << steps;
      }
}

TEST(Schedulers, StepOptionsThatDoNotApplyAreRefused) {
  StepHistory history;
  Tensor x = at::zeros({1, 1, 1, 1});
  auto step = [&](const char* config, const StepOptions& options) {
    auto scheduler = made(config);
    return message_of([&] { scheduler->step(scheduler->plan(10), 0, x, x, options, history); });
  };
  EXPECT_TRUE(contains(step(kDdim, {"cps", 0.5}), "flow models"));
  EXPECT_TRUE(contains(step(kDdim, {"default", 1.5}), "0 to 1"));
  EXPECT_TRUE(contains(step(kFlow, {"flowgrpo", 0.5}), "flow_grpo"));
  EXPECT_TRUE(contains(step(kFlow, {"cps", 1.5}), "0 to 1"));
  EXPECT_TRUE(contains(step(kFlow, {"dance", -1}), "0 or more"));
}

}  // namespace
}  // namespace rft::scheduler_test
