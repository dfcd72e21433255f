// The steps of a sampling run as decisions: what the sampler reports is what the judge computes, and gradients through
// the sampler are those of finite differences.
#include "rft/policy/diffusion.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numbers>

#include "linear_denoiser.h"
#include "policy/denoise.h"
#include "policy/noised.h"
#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "support.h"

namespace rft::diffusion_test {
namespace {

using testing::linear_policy;

Experience four_contexts() {
  Experience out;
  out.context.set_text(extra::prompt, {"a", "b", "c", "d"});
  return out;
}

Experience roll_out(Diffusion& policy, uint64_t seed = 3) {
  SampleRequest request;
  request.seed = seed, request.group_size = 2;
  return policy.sample(four_contexts(), request);
}

/// Contexts with the keys that the trainer gives them.
Experience drawn(int64_t rows) {
  Experience out;
  out.context.set_text(extra::prompt, std::vector<std::string>(static_cast<size_t>(rows)));
  out.mask = at::ones({rows, 1}, at::kBool);
  out.extra.set(extra::draw, at::arange(2 * rows, at::kLong).mul(7919).view({rows, 2}));
  return out;
}

Needs path_needs(Pathwise path) {
  Needs needs;
  needs.data = Needs::Data::contexts;
  needs.pathwise = path;
  return needs;
}

Tensor quadratic(const Experience& sample) {
  return sample.extra.tensor(extra::image).sub(0.3).square().flatten(1).sum(1).neg();
}

TEST(Diffusion, TheJudgeGivesTheSamplersLogProbabilities) {
  for (const char* logp : {"mean", "sum"}) {
    auto policy = linear_policy(cat("{steps: 7, eta: 0.8, logp: ", logp, "}"), at::kFloat);
    Experience batch = roll_out(*policy);
    EXPECT_EQ(batch.action.sizes(), (std::vector<int64_t>{8, 7, 1, 2, 2}));
    auto known = policy->evaluate(batch, {});
    EXPECT_TRUE(known.logp_is_samplers);
    EXPECT_TRUE(known.logp.equal(batch.logp)) << "the first ratio is 1 exactly";
    policy->stepped(1);  // from now on the numbers have to be computed
    auto computed = policy->evaluate(batch, {});
    EXPECT_FALSE(computed.logp_is_samplers);
    EXPECT_LE(computed.logp.sub(batch.logp).abs().max().item<double>(), 1e-5);
  }
}

TEST(Diffusion, ItsLogProbabilityIsTheGaussiansClosedForm) {
  auto policy = linear_policy("{steps: 5, eta: 1.0, logp: sum}");
  Experience batch = roll_out(*policy);
  DenoisingRun run = policy->begin(batch.context, 1.0);
  auto acp = [](int64_t t) {
    double product = 1;
    for (int64_t i = 0; i <= t; ++i) product *= 1 - (1e-4 + static_cast<double>(i) / 999 * (0.02 - 1e-4));
    return product;
  };
  for (int64_t i = 0; i < 4; ++i) {
    auto t = static_cast<int64_t>(run.plan.timesteps[static_cast<size_t>(i)]);
    double a = acp(t), b = acp(t - 200), variance = (1 - b) / (1 - a) * (1 - a / b);
    Tensor x = i == 0 ? batch.context.tensor("noise") : batch.action.select(1, i - 1);
    Tensor answer = x.mul(0.98).add(
        at::tensor({0.01, -0.02, 0.03, 0.005}, at::kDouble).view({1, 2, 2}).mul(static_cast<double>(t) / 1000 + 0.5));
    Tensor clean = x.sub(answer, std::sqrt(1 - a)).div(std::sqrt(a));
    Tensor mean = clean.mul(std::sqrt(b)).add(answer, std::sqrt(1 - b - variance));
    Tensor z2 = batch.action.select(1, i).sub(mean).square().flatten(1).sum(1).div(variance);
    Tensor expected = z2.mul(-0.5).sub(2 * std::log(2 * std::numbers::pi * variance));
    EXPECT_LE(batch.logp.select(1, i).sub(expected).abs().max().item<double>(), 1e-5) << "step " << i;
  }
}

TEST(Diffusion, ARowsSampleDoesNotDependOnTheRestOfTheBatch) {
  auto all = linear_policy("{steps: 6}", at::kFloat),
       parts = linear_policy("{steps: 6, sampling_batch_size: 3}", at::kFloat);
  Experience whole = roll_out(*all), split = roll_out(*parts);
  EXPECT_TRUE(whole.action.equal(split.action));
  EXPECT_TRUE(whole.logp.equal(split.logp));
  EXPECT_FALSE(whole.action.equal(roll_out(*all, 4).action));
}

TEST(Diffusion, LogProbabilitiesHaveTheGradientOfFiniteDifferences) {
  auto policy = linear_policy("{steps: 4, logp: sum}");
  Experience batch = roll_out(*policy);
  auto value = [&] { return policy->evaluate(batch, {}).logp.square().sum(); };
  value().backward();  // the numbers are known, the gradient is computed in the backward pass
  auto parameters = policy->parameters();
  std::vector<Tensor> grads;
  for (auto& p : parameters) grads.push_back(p.value.grad().flatten().clone());
  Metrics metrics;
  policy->report(metrics);
  EXPECT_LE(metrics.mean("logp_mismatch"), 1e-6) << "measured while the backward pass computed them again";
  policy->stepped(1);
  at::NoGradGuard no_grad;
  for (size_t k = 0; k < parameters.size(); ++k)
    for (int64_t i = 0; i < grads[k].numel(); ++i) {
      Tensor place = parameters[k].value.flatten()[i];
      double ends[2], step = 1e-6;
      for (int side : {0, 1}) {
        place.add_(side ? step : -step);
        ends[side] = value().item<double>();
        place.add_(side ? -step : step);
      }
      double expected = (ends[1] - ends[0]) / (2 * step);
      EXPECT_NEAR(grads[k][i].item<double>(), expected, 1e-5 * (1 + std::abs(expected)));
    }
}

std::vector<Tensor> path_gradient(Diffusion& policy, const Experience& batch, const Pathwise& path) {
  auto parameters = policy.parameters();
  for (auto& p : parameters) p.value.mutable_grad() = Tensor();
  policy.evaluate_path(batch, path_needs(path), quadratic).reward.sum().backward();
  std::vector<Tensor> out;
  for (auto& p : parameters) out.push_back(p.value.grad().clone());
  return out;
}

TEST(Diffusion, DraftsGradientIsThatOfFiniteDifferencesThroughTheWholeSampler) {
  for (const char* eta : {"0", "0.7"}) {
    auto policy = linear_policy(cat("{steps: 6, eta: ", eta, "}"));
    Experience batch = drawn(3);
    auto grads = path_gradient(*policy, batch, {});
    at::NoGradGuard no_grad;
    auto value = [&] { return policy->evaluate_path(batch, path_needs({}), quadratic).reward.sum().item<double>(); };
    auto parameters = policy->parameters();
    for (size_t k = 0; k < grads.size(); ++k)
      for (int64_t i = 0; i < grads[k].numel(); ++i) {
        Tensor place = parameters[k].value.flatten()[i];
        double ends[2], step = 1e-6;
        for (int side : {0, 1}) {
          place.add_(side ? step : -step);
          ends[side] = value();
          place.add_(side ? -step : step);
        }
        EXPECT_NEAR(grads[k].flatten()[i].item<double>(), (ends[1] - ends[0]) / (2 * step), 1e-6);
      }
  }
}

TEST(Diffusion, DraftGivesTheSameGradientWithoutRecomputing) {
  auto policy = linear_policy("{steps: 6, eta: 0}");
  Experience batch = drawn(3);
  auto grads = path_gradient(*policy, batch, {});
  auto parameters = policy->parameters();
  for (auto& p : parameters) p.value.mutable_grad() = Tensor();
  // The same chain, its whole graph kept.
  DenoisingRun run = policy->begin(batch.context, 0);
  Tensor x;
  policy->evaluate_path(batch, path_needs({}), [&](const Experience& sample) { return quadratic(sample); });
  std::vector<uint64_t> keys;
  for (int64_t i = 0; i < 3; ++i)
    keys.push_back(static_cast<uint64_t>(batch.extra.tensor(extra::draw)[i][1].item<int64_t>()));
  x = standard_normal(keys, {1, 2, 2}).to(at::kDouble);
  StepHistory history;
  for (int64_t i = 0; i < run.plan.steps(); ++i) x = transition(policy->model(), run, i, x, history).mean;
  Experience sample;
  sample.extra.set(extra::image, policy->decode(x));
  quadratic(sample).sum().backward();
  for (size_t k = 0; k < grads.size(); ++k)
    EXPECT_LE(grads[k].sub(parameters[k].value.grad()).abs().max().item<double>(), 1e-12);
}

TEST(Diffusion, TruncatedToAllStepsDraftIsDraft) {
  auto policy = linear_policy("{steps: 6, eta: 0.5}");
  Experience batch = drawn(3);
  Pathwise all, six, one;
  six.min_steps = six.max_steps = 6;
  one.min_steps = one.max_steps = 1;
  auto whole = path_gradient(*policy, batch, all), same = path_gradient(*policy, batch, six),
       last = path_gradient(*policy, batch, one);
  EXPECT_TRUE(whole[0].equal(same[0]));
  EXPECT_GT(whole[0].sub(last[0]).abs().max().item<double>(), 1e-6);
  EXPECT_GT(last[0].abs().max().item<double>(), 0);
}

TEST(Diffusion, DemonstrationsAreJudgedByTheirDenoisingError) {
  auto policy = linear_policy("{steps: 6}");
  Experience batch = drawn(200);
  batch.action = at::zeros({200, 1, 1, 2, 2}, at::kDouble);
  Tensor logp = policy->evaluate(batch, {}).logp;
  EXPECT_EQ(logp.sizes(), (std::vector<int64_t>{200, 1}));
  EXPECT_TRUE(logp.equal(policy->evaluate(batch, {}).logp)) << "the draws are the batch's, not the moment's";
  // x = sqrt(1 - a) e, so the error of the answer 0.98 x + shift is about (1 - 0.98 sqrt(1 - a))^2.
  EXPECT_GT(logp.neg().mean().item<double>(), 0.0004);
  EXPECT_LT(logp.neg().mean().item<double>(), 0.3);
}

TEST(Diffusion, ConsistencyComparesTheEndsOfADdimStepOfTheModelAsItWasLoaded) {
  Diffusion::Options options;
  options.consistency_levels = 50;
  Diffusion policy([] { return testing::linear_pipeline(); }, options);
  {
    at::NoGradGuard no_grad;
    policy.parameters()[1].value.fill_(0.2);
  }
  Experience batch = drawn(60);
  batch.action = at::randn({60, 1, 1, 2, 2}, at::kDouble);
  Tensor logp = policy.evaluate(batch, {}).logp;
  EXPECT_TRUE(logp.requires_grad());
  const Scheduler& scheduler = *policy.pipeline().scheduler;
  auto plan = scheduler.plan(50);  // 999, 979, ..., 19
  NoisedSamples noised = noise_demonstrations(scheduler, batch, false);
  testing::LinearDenoiser teacher(at::kDouble);
  auto clean_at = [&](const Tensor& x, const Tensor& t) {
    return scheduler.denoised(x, policy.pipeline().denoiser->forward(x, t, {}, nullptr), t);
  };
  for (int64_t row = 0; row < 60; ++row) {
    auto n = static_cast<int64_t>(noised.level[row].item<double>() * 50) + 1;
    Tensor t = at::full({1}, plan.timesteps[static_cast<size_t>(50 - n)], at::kFloat);
    Tensor x = scheduler.add_noise(noised.clean.narrow(0, row, 1), noised.noise.narrow(0, row, 1), t);
    StepHistory history;
    Tensor lower = scheduler.step(plan, 50 - n, teacher.forward(x, t, {}, nullptr), x, {}, history).mean;
    Tensor target = n == 1 ? lower : clean_at(lower, t.sub(20));
    double expected = -clean_at(x, t).sub(target).square().mean().item<double>();
    EXPECT_NEAR(logp[row][0].item<double>() / expected, 1, 1e-4) << "level " << n;
  }
  auto message = testing::message_of([&] { policy.ref_logp(batch, {}); });
  EXPECT_NE(message.find("consistency_levels"), std::string::npos) << message;
}

TEST(Diffusion, NoisedDataAboveTheLevelIsNotRewarded) {
  auto policy = linear_policy("{steps: 6}");
  Experience batch = drawn(64);
  batch.action = at::zeros({64, 1, 1, 2, 2}, at::kDouble);
  batch.group = at::arange(64, at::kLong);
  Pathwise path;
  path.path = Pathwise::Path::noised_data, path.max_level = 0.3;
  auto now = policy->evaluate_path(batch, path_needs(path), quadratic);
  int64_t rewarded = now.reward.isnan().logical_not().sum().item<int64_t>();
  EXPECT_GT(rewarded, 8);
  EXPECT_LT(rewarded, 34);
  EXPECT_TRUE(now.reward.requires_grad());
  EXPECT_EQ(now.logp.size(0), 64);
}

TEST(Diffusion, ARunWithoutRandomStepsCannotBeJudged) {
  auto policy = linear_policy("{steps: 4, eta: 0}");
  Experience batch = roll_out(*policy);
  EXPECT_FALSE(batch.mask.any().item<bool>());
  auto message = testing::message_of([&] { policy->evaluate(batch, {}); });
  EXPECT_NE(message.find("none of its steps is random"), std::string::npos) << message;
}

TEST(Diffusion, TheAverageTakesTheWeightsPlaceInTheEnd) {
  Diffusion::Options options;
  options.ema_decay = 0.5;
  auto make = [] { return testing::linear_pipeline(); };
  Diffusion policy(make, options);
  Tensor shift = policy.parameters()[1].value;
  at::NoGradGuard no_grad;
  shift.fill_(1), policy.stepped(1);
  shift.fill_(3), policy.stepped(2);
  Diffusion resumed(make, options);
  resumed.load_state(policy.state());
  policy.finish(), resumed.finish();
  EXPECT_EQ(shift.min().item<double>(), 2);
  EXPECT_EQ(resumed.parameters()[1].value.max().item<double>(), 2);
}

}  // namespace
}  // namespace rft::diffusion_test
