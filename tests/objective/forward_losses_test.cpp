/// diffusion_nft, rwr, prdp and dpo's soft labels: objectives that learn from finished samples, against their authors'
/// formulas (tests/parity/make_forward_losses.py).
#include <ATen/ATen.h>

#include <cmath>

#include "rft/io/safetensors.h"
#include "rft/objective/diffusion_nft.h"
#include "rft/objective/dpo.h"
#include "rft/objective/grpo.h"
#include "rft/objective/prdp.h"
#include "rft/objective/rwr.h"
#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::forward_losses_test {
namespace {

using testing::case_of;
using testing::make;

std::map<std::string, Tensor> golden() {
  return load_safetensors(testing::fixture("parity/data/forward_losses.safetensors")).tensors;
}

/// [6, 2] log-probabilities, rewards and advantages of the golden case.
testing::Example golden_rows(const std::map<std::string, Tensor>& given) {
  testing::Example out;
  out.now.logp = given.at("logp");
  out.batch.old_logp = given.at("old_logp"), out.batch.ref_logp = given.at("ref_logp");
  out.batch.reward = given.at("reward"), out.batch.advantage = given.at("advantage");
  out.batch.mask = at::ones({6, 2}, at::kBool);
  out.batch.fill_totals();
  return out;
}

void expect_golden(const std::map<std::string, Tensor>& given, const std::string& name, const Objective& objective) {
  auto e = golden_rows(given);
  auto judged = testing::judge(objective, e.now, e.batch);
  EXPECT_NEAR(judged.loss, given.at(name).item<double>(), 1e-12) << name;
  EXPECT_LE(judged.grads[0].sub(given.at("grad." + name)).abs().max().item<double>(), 1e-12) << name;
}

TEST(ForwardLosses, EqualTheirAuthorsFormulas) {
  auto given = golden();
  expect_golden(given, "awm", make<Grpo>("{variant: dapo, clip_low: 0.02}"));
  expect_golden(given, "prdp", make<Prdp>("{beta: 0.4}"));
  expect_golden(given, "prdp.clip", make<Prdp>("{beta: 0.4, clip: 0.05}"));
  expect_golden(given, "rpo", make<Dpo>("{variant: soft_label, beta: 2, reward_scale: 0.5}"));
  expect_golden(given, "flow_rwr", make<Rwr>("{weigh: reward}"));
}

TEST(DiffusionNft, EqualsItsAuthorsFormulasInVelocities) {
  auto given = golden();
  Tensor t = given.at("t"), wide = t.view({6, 2, 1, 1, 1});
  auto estimate = [&](const Tensor& velocity) { return given.at("xt").sub(wide.mul(velocity)); };
  auto e = golden_rows(given);
  e.batch.action = given.at("x0");
  e.batch.extra.set(extra::old_estimate, estimate(given.at("v_old")));
  for (std::string mode : {"all", "positive_only", "negative_only", "one_only", "binary"}) {
    Tensor v = given.at("v").clone().requires_grad_();
    e.now.extra.set(extra::estimate, estimate(v));
    e.now.extra.set(extra::ref_estimate, estimate(given.at("v_ref")));
    e.now.extra.set(extra::estimate_scale, t);
    auto objective = make<DiffusionNft>("{beta: 0.7, advantage_clip: 4, kl_weight: 0.3, advantages: " + mode + "}");
    Tensor loss = objective.loss(e.now, e.batch).total();
    loss.backward();
    EXPECT_NEAR(loss.item<double>(), given.at("nft." + mode).item<double>(), 1e-12) << mode;
    EXPECT_LE(v.grad().sub(given.at("grad.nft." + mode)).abs().max().item<double>(), 1e-12) << mode;
  }
}

TEST(DiffusionNft, Conforms) {
  for (std::string options : {"{kl_weight: 0}", "{advantages: binary, beta: 0.3, kl_weight: 0.5}"}) {
    auto one = case_of<DiffusionNft>(options, [] {
      auto out = testing::estimates_example();
      out.now.entropy = Tensor();
      return out;
    });
    one.differentiable = false;  // the errors' divisors are held constant
    testing::check_objective(one);
  }
}

TEST(DiffusionNft, ASampleOfNoAdvantageTeachesNothingWhereItWasMade) {
  auto e = testing::estimates_example();
  e.now.extra.set(extra::estimate, e.batch.extra.tensor(extra::old_estimate));
  e.batch.advantage = at::zeros_like(e.batch.advantage);
  auto judged = testing::judge(make<DiffusionNft>("{kl_weight: 0}"), e.now, e.batch);
  for (const Tensor& grad : judged.grads) EXPECT_LE(grad.abs().max().item<double>(), 1e-15);
}

TEST(Rwr, Conforms) {
  for (std::string options : {"{}", "{weigh: reward, temperature: 0.5}", "{max_weight: 1.5}"})
    testing::check_objective(case_of<Rwr>(options, testing::policy_gradient_example));
  auto held = case_of<Rwr>("{kl_weight: 0.4}", testing::estimates_example);
  held.differentiable = false;  // the reference's estimates and the scale are constants
  testing::check_objective(held);
}

TEST(Rwr, WeighsByTheAdvantageAndLeavesOutWhatHasNoReward) {
  auto e = testing::policy_gradient_example();
  e.batch.reward = at::tensor({1.0, 0.0, std::nan(""), 0.2, 0.0, 0.9}, at::kDouble);
  auto judged = testing::judge(make<Rwr>("{temperature: 2, max_weight: 1.5}"), e.now, e.batch);
  Tensor weight = e.batch.advantage.div(2).exp().clamp_max(1.5).mul(e.batch.mask);
  weight[2].zero_();
  EXPECT_LE(judged.grads[0].add(weight.div(e.batch.totals.tokens)).abs().max().item<double>(), 1e-15);
}

testing::Example rewarded_pairs() {
  auto out = testing::pairs_example();
  out.now.entropy = Tensor();
  return out;
}

TEST(Prdp, Conforms) {
  for (std::string options : {"{}", "{beta: 0.3, clip: 0.2}"})
    testing::check_objective(case_of<Prdp>(options, rewarded_pairs));
}

TEST(Prdp, IsAtItsBestWhereRatiosSayWhatRewardsDo) {
  auto e = rewarded_pairs();
  e.batch.mask = at::ones_like(e.batch.mask), e.batch.fill_totals();
  e.now.logp = e.batch.ref_logp.add(e.batch.reward.unsqueeze(1).div(0.3 * 5));
  auto judged = testing::judge(make<Prdp>("{beta: 0.3}"), e.now, e.batch);
  EXPECT_NEAR(judged.loss, 0, 1e-14);
  EXPECT_NEAR(judged.metrics.mean("predicted_difference"), judged.metrics.mean("reward_difference"), 1e-12);
  e.batch.reward = Tensor();
  auto refused = [&] { make<Prdp>("{}").loss(e.now, e.batch); };
  EXPECT_NE(testing::message_of<RunError>(refused).find("margin"), std::string::npos);
}

TEST(Dpo, SoftLabelsConform) {
  testing::check_objective(case_of<Dpo>("{variant: soft_label, reward_scale: 0.3}", rewarded_pairs));
  auto e = rewarded_pairs();
  e.batch.reward = at::tensor({1e3, 1e3, 1e3, 0.0, 0.0, 0.0}, at::kDouble);
  auto soft = testing::judge(make<Dpo>("{variant: soft_label}"), e.now, e.batch);
  testing::expect_same(soft, testing::judge(make<Dpo>("{}"), e.now, e.batch), "a label that is sure");
}

}  // namespace
}  // namespace rft::forward_losses_test
