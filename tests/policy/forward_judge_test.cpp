// Rollouts judged by the denoising of their finished samples, runs that start from a picture, and steps whose spread
// the denoiser predicts.
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "linear_denoiser.h"
#include "policy/denoise.h"
#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/io/image.h"
#include "rft/io/rows.h"
#include "support.h"

namespace rft::forward_judge_test {
namespace {

using testing::linear_policy;

Experience contexts(int64_t rows) {
  Experience out;
  out.context.set_text(extra::prompt, std::vector<std::string>(static_cast<size_t>(rows)));
  return out;
}

Experience roll_out(Diffusion& policy, const Experience& from, int64_t group_size = 3, uint64_t seed = 5) {
  SampleRequest request;
  request.seed = seed, request.group_size = group_size;
  return policy.sample(from, request);
}

double distance(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

/// DDIM's product of alphas at t, as the linear schedule has it.
double kept(int64_t t) {
  double product = 1;
  for (int64_t i = 0; i <= t; ++i) product *= 1 - (1e-4 + static_cast<double>(i) / 999 * (0.02 - 1e-4));
  return product;
}

TEST(ForwardJudge, ARolloutBecomesItsFinishedSamples) {
  auto steps = linear_policy("{steps: 5, eta: 0}"),
       forward = linear_policy("{steps: 5, eta: 0, judge: forward, levels: 3}");
  Experience run = roll_out(*steps, contexts(4)), batch = roll_out(*forward, contexts(4));
  EXPECT_EQ(batch.action.sizes(), (std::vector<int64_t>{12, 3, 1, 2, 2}));
  for (int64_t k = 0; k < 3; ++k) EXPECT_TRUE(batch.action.select(1, k).equal(run.action.select(1, 4)));
  EXPECT_TRUE(batch.mask.all().item<bool>()) << "a run without randomness can be judged so";
  EXPECT_FALSE(batch.context.has("noise"));
  Needs needs;
  needs.estimate = needs.ref_estimate = true;
  auto now = forward->evaluate(batch, needs);
  EXPECT_TRUE(now.logp.equal(batch.logp));
  EXPECT_TRUE(now.extra.tensor(extra::estimate).equal(batch.extra.tensor(extra::old_estimate)));
  EXPECT_TRUE(now.extra.tensor(extra::ref_estimate).equal(batch.extra.tensor(extra::old_estimate)));
  EXPECT_FALSE(now.extra.tensor(extra::ref_estimate).requires_grad());
  EXPECT_TRUE(forward->ref_logp(batch, needs).equal(batch.logp));
  // Predicted noise: the estimate is (x - sqrt(1 - a) noise) / sqrt(a), and the error of the noise its own over
  // scale^2.
  Tensor off = now.extra.tensor(extra::estimate).sub(batch.action).square().flatten(2).mean(2);
  EXPECT_LE(distance(off.div(now.extra.tensor(extra::estimate_scale).square()), batch.logp.neg()), 1e-9);
}

TEST(ForwardJudge, AGroupSharesItsNoiseAndLevelsLieApart) {
  auto policy = linear_policy("{steps: 5, eta: 0, judge: forward, levels: 3}");
  Experience batch = roll_out(*policy, contexts(4));
  Needs needs;
  needs.estimate = true;
  Tensor scale = policy->evaluate(batch, needs).extra.tensor(extra::estimate_scale);
  EXPECT_TRUE(scale[0].equal(scale[2]) && !scale[0].equal(scale[3]));
  for (int64_t b = 0; b < 12; ++b)
    for (int64_t k = 0; k < 3; ++k) {
      double a = 1 / (scale[b][k].square().item<double>() + 1);  // scale^2 = (1 - a) / a
      EXPECT_LE(a, kept(1000 * k / 3 - (k > 0)) + 1e-9);
      EXPECT_GE(a, kept(1000 * (k + 1) / 3) - 1e-9);
    }
  batch.action = batch.action.slice(0, 0, 1).expand_as(batch.action).contiguous();
  Tensor logp = policy->evaluate(batch, {}).logp;
  EXPECT_TRUE(logp[0].equal(logp[2])) << "the same sample under the same noise";
  EXPECT_FALSE(logp[0].equal(logp[3]));
  auto apart = linear_policy("{steps: 5, eta: 0, judge: forward, shared_noise: false}");
  Tensor draw = roll_out(*apart, contexts(4)).extra.tensor(extra::draw);
  EXPECT_FALSE(draw[0].equal(draw[1]));
}

TEST(ForwardJudge, TheOldPolicyTrailsTheTrainedOne) {
  auto policy = linear_policy("{steps: 5, eta: 0, judge: forward, behaviour_decay: 0.75}");
  auto plain = linear_policy("{steps: 5, eta: 0, judge: forward}");
  Experience first = roll_out(*policy, contexts(2));
  EXPECT_TRUE(first.logp.equal(roll_out(*plain, contexts(2)).logp));
  at::NoGradGuard no_grad;
  Tensor shift = policy->parameters()[1].value, before = shift.clone();
  shift.add_(0.4), policy->stepped(1);
  plain->parameters()[1].value.add_(0.1);
  Experience second = roll_out(*policy, contexts(2)), expected = roll_out(*plain, contexts(2));
  EXPECT_LE(distance(second.action, expected.action), 1e-12);
  EXPECT_LE(distance(second.extra.tensor(extra::old_estimate), expected.extra.tensor(extra::old_estimate)), 1e-12);
  EXPECT_LE(distance(shift, before.add(0.4)), 1e-15) << "the trained weights are back";
  auto resumed = linear_policy("{steps: 5, eta: 0, judge: forward, behaviour_decay: 0.75}");
  resumed->load_state(policy->state());
  resumed->parameters()[1].value.copy_(shift);
  EXPECT_TRUE(roll_out(*resumed, contexts(2)).action.equal(second.action));
}

/// A policy and contexts whose pictures are one grey.
struct FromPicture {
  testing::TempDir dir;
  std::unique_ptr<Diffusion> policy;
  Experience contexts;
  explicit FromPicture(const std::string& rollout) : policy(linear_policy(rollout)) {
    write_png(dir / "grey.png", at::full({1, 2, 2}, 0.6));
    testing::write_file(dir / "rows.jsonl", "{\"image\": \"grey.png\"}\n{\"image\": \"grey.png\"}\n");
    contexts = policy->contexts(Rows::load(dir / "rows.jsonl"));
  }
};

TEST(ImageToImage, ARunStartsFromTheNoisedPicture) {
  FromPicture one("{steps: 10, eta: 0, strength: 0.45}");
  Tensor start = one.contexts.context.tensor("start");
  EXPECT_LE(distance(start, at::full({2, 1, 2, 2}, 0.2)), 1e-6);
  Experience batch = roll_out(*one.policy, one.contexts, 1);
  EXPECT_EQ(batch.action.size(1), 4) << "int(10 * 0.45) steps are left, as diffusers counts them";
  double a = kept(399);  // trailing: 999, 899, ..., of which 399 is the first of the last four
  Tensor x = start.mul(std::sqrt(a)).add(batch.context.tensor("noise"), std::sqrt(1 - a));
  DenoisingRun run = one.policy->begin(batch.context, 0);
  EXPECT_EQ(run.plan.timesteps.front(), 399);
  StepHistory history;
  for (int64_t i = 0; i < 4; ++i) {
    x = transition(one.policy->model(), run, i, x, history).mean;
    EXPECT_LE(distance(batch.action.select(1, i), x), 1e-5) << "step " << i;
  }
  Tensor latents = one.policy->run(one.contexts.context, batch.context.tensor("noise"), {}, 5, 0);
  EXPECT_LE(distance(latents, x), 1e-5);
}

TEST(ImageToImage, ItsStepsAreDecisionsToo) {
  FromPicture one("{steps: 10, eta: 1, strength: 0.5}");
  Experience batch = roll_out(*one.policy, one.contexts);
  one.policy->stepped(1);
  EXPECT_LE(distance(one.policy->evaluate(batch, {}).logp, batch.logp), 1e-5);
  FromPicture none("{steps: 5, strength: 0.1}");
  auto refused = [&] { roll_out(*none.policy, none.contexts); };
  EXPECT_NE(testing::message_of(refused).find("rollout.strength"), std::string::npos);
  auto missing = [&] { none.policy->contexts(Rows::parse({"{}"}, "rows")); };
  EXPECT_NE(testing::message_of(missing).find("image"), std::string::npos);
}

/// Predicts its steps' variance too: the second channel is a learned share between the two bounds.
class SpreadDenoiser : public testing::LinearDenoiser {
 public:
  SpreadDenoiser() : LinearDenoiser(at::kDouble) {
    spread_ = at::tensor({0.2, -0.3, 0.5, -0.8}, at::kDouble).view({1, 2, 2});
    weights_ = LinearDenoiser::weights();
    weights_.tensors.emplace_back("spread", spread_);
  }
  Tensor forward(const Tensor& x, const Tensor& t, const Conditioning& told,
                 const ControlResiduals* control) const override {
    return at::cat({LinearDenoiser::forward(x, t, told, control), spread_.add(x.mul(0.05))}, 1);
  }
  const Weights& weights() const override { return weights_; }
  int64_t out_channels() const override { return 2; }

 private:
  Tensor spread_;
  Weights weights_;
};

std::unique_ptr<Diffusion> spread_policy() {
  auto make = [] {
    ImagePipeline out = testing::linear_pipeline();
    out.denoiser = std::make_unique<SpreadDenoiser>();
    out.scheduler = make_scheduler(
        R"({"_class_name": "DDPMScheduler", "beta_schedule": "linear", "clip_sample": false,
            "variance_type": "learned_range"})",
        "", "spread");
    return out;
  };
  auto policy = std::make_unique<Diffusion>(make, Diffusion::Options{});
  Config block = Config::parse("{steps: 4, logp: sum}", "rollout");
  OptionReader reader(block);
  policy->visit_rollout(reader);
  return policy;
}

TEST(LearnedVariance, StepsHaveTheSpreadThatTheDenoiserPredicts) {
  auto policy = spread_policy();
  Experience batch = roll_out(*policy, contexts(3));
  DenoisingRun run = policy->begin(batch.context, 1);
  StepHistory history;
  Tensor x = batch.context.tensor("noise");
  Transition step = transition(policy->model(), run, 0, x, history);
  ASSERT_TRUE(step.stds.defined());
  auto t = static_cast<int64_t>(run.plan.timesteps[0]), s = static_cast<int64_t>(run.plan.timesteps[1]);
  double a = kept(t), b = kept(s), most = 1 - a / b, least = (1 - b) / (1 - a) * most;
  Tensor share = at::tensor({0.2, -0.3, 0.5, -0.8}, at::kDouble).view({1, 1, 2, 2}).add(x.mul(0.05)).add(1).div(2);
  Tensor expected = share.mul(std::log(most)).add((1 - share).mul(std::log(least))).mul(0.5).exp();
  EXPECT_LE(distance(step.stds, expected), 1e-5);
  policy->stepped(1);
  EXPECT_LE(distance(policy->evaluate(batch, {}).logp, batch.logp), 1e-5);
}

TEST(LearnedVariance, ItsGradientIsThatOfFiniteDifferences) {
  auto policy = spread_policy();
  Experience batch = roll_out(*policy, contexts(2));
  policy->stepped(1);
  Tensor spread = policy->parameters()[2].value;
  auto value = [&] { return policy->evaluate(batch, {}).logp.sum(); };
  value().backward();
  Tensor grad = spread.grad().flatten().clone();
  EXPECT_GT(grad.abs().min().item<double>(), 1e-3);
  at::NoGradGuard no_grad;
  for (int64_t i = 0; i < 4; ++i) {
    Tensor place = spread.flatten()[i];
    double ends[2], step = 1e-6;
    for (int side : {0, 1}) {
      place.add_(side ? step : -step);
      ends[side] = value().item<double>();
      place.add_(side ? -step : step);
    }
    EXPECT_NEAR(grad[i].item<double>(), (ends[1] - ends[0]) / (2 * step), 1e-4);
  }
}

}  // namespace
}  // namespace rft::forward_judge_test
