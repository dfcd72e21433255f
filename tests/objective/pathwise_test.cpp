/// draft, refl and ctrl_u: rewards that carry a graph.
#include <ATen/ATen.h>

#include <cmath>

#include "rft/objective/ctrl_u.h"
#include "rft/objective/draft.h"
#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::pathwise_test {
namespace {

using testing::case_of;
using testing::make;
using Path = Pathwise::Path;

testing::Example rewards_alone() {
  auto out = testing::pathwise_example();
  out.now.logp = out.now.entropy = Tensor();
  return out;
}

/// With a doubt for each row, as a reward model may give it.
testing::Example doubted() {
  auto out = testing::pathwise_example();
  out.now.extra.set(extra::uncertainty, at::tensor({0.1, 0.5, 0.0, 1.2, 0.3, 0.9}, at::kDouble));
  out.now.entropy = Tensor();
  return out;
}

/// A batch of `reward` alone, in groups of two.
testing::Example rows(const std::vector<double>& reward) {
  testing::Example out;
  auto n = static_cast<int64_t>(reward.size());
  out.now.reward = at::tensor(reward, at::kDouble);
  out.now.logp = at::full({n, 1}, -2.0, at::kDouble);
  out.batch.mask = at::ones({n, 1}, at::kBool);
  out.batch.group = at::arange(n).div(2, "floor");
  out.batch.fill_totals();
  return out;
}

const double kNan = std::nan("");

TEST(Draft, Conforms) {
  for (std::string options : {"{}", "{reward_target: 1.5}", "{path: denoised, hinge: 2}"})
    testing::check_objective(case_of<Draft>(options, rewards_alone));
  testing::check_objective(case_of<Refl>("{}", rewards_alone));
}

TEST(Draft, EqualsItsFormulas) {
  auto e = rows({0.5, 3.0, kNan, -1.0});
  auto loss = [&](const std::string& options) { return testing::judge(make<Draft>(options), e.now, e.batch); };
  EXPECT_NEAR(loss("{}").loss, -2.5 / 3, 1e-15);
  EXPECT_NEAR(loss("{reward_target: 2}").loss, (1.5 + 1 + 3) / 3, 1e-15);
  EXPECT_NEAR(loss("{hinge: 2}").loss, (1.5 + 0 + 3) / 3, 1e-15);
  EXPECT_NEAR(loss("{hinge: 2}").metrics.mean("reward_loss"), 1.5, 1e-15);
  auto grad = loss("{}").grads.back();
  EXPECT_TRUE(grad.allclose(at::tensor({-1.0 / 3, -1.0 / 3, 0.0, -1.0 / 3}, at::kDouble)));
}

TEST(Draft, ABatchWithoutAnyRewardTeachesNothing) {
  auto e = rows({kNan, kNan});
  auto judged = testing::judge(make<Draft>("{}"), e.now, e.batch);
  EXPECT_EQ(judged.loss, 0);
  EXPECT_EQ(judged.grads.back().abs().sum().item<double>(), 0);
  EXPECT_FALSE(judged.metrics.has("reward_loss"));
}

TEST(Draft, TellsThePolicyHowToMakeSamples) {
  auto path = [](const std::string& options) { return *make<Draft>(options).needs().pathwise; };
  EXPECT_EQ(make<Draft>("{}").needs().data, Needs::Data::contexts);
  EXPECT_EQ(path("{}").path, Path::chain);
  EXPECT_EQ(path("{}").min_steps, 1);
  EXPECT_EQ(path("{last_steps: 0}").max_steps, 0);
  EXPECT_EQ(path("{last_steps: 5}").min_steps, 5);
  EXPECT_EQ(path("{min_steps: 2, max_steps: 9, noise_repeats: 2}").max_steps, 9);
  EXPECT_EQ(path("{min_steps: 2, max_steps: 9, noise_repeats: 2}").min_steps, 2);
  EXPECT_EQ(path("{noise_repeats: 2}").noise_repeats, 2);
  auto refl = *make<Refl>("{}").needs().pathwise;
  EXPECT_EQ(refl.path, Path::denoised);
  EXPECT_EQ(refl.min_level, 0.75);
  EXPECT_EQ(refl.max_level, 1);
}

TEST(Draft, OptionsThatContradictEachOtherAreRefusedByName) {
  auto refuse = [](const std::string& yaml) { return testing::message_of([&] { make<Draft>(yaml); }); };
  EXPECT_NE(refuse("{hinge: 1, reward_target: 2}").find("reward_target"), std::string::npos);
  EXPECT_NE(refuse("{path: denoised, noise_repeats: 1}").find("noise_repeats"), std::string::npos);
  EXPECT_NE(refuse("{min_steps: 3, max_steps: 2}").find("max_steps"), std::string::npos);
  EXPECT_NE(refuse("{min_steps: 3}").find("max_steps"), std::string::npos);
  EXPECT_NE(refuse("{min_level: 0.9, max_level: 0.1}").find("max_level"), std::string::npos);
  auto e = testing::policy_gradient_example();
  EXPECT_NE(testing::message_of<RunError>([&] { make<Draft>("{}").loss(e.now, e.batch); }).find("`reward`"),
            std::string::npos);
}

TEST(CtrlU, Conforms) {
  for (std::string options :
       {"{}", "{uncertainty_scale: 2, uncertainty_weight: 0.2, reward_weight: 0.3, pretrain_weight: 0.5}",
        "{uncertainty: false}"})
    testing::check_objective(case_of<CtrlU>(options, testing::pathwise_example));
  testing::check_objective(case_of<CtrlU>("{reward_weight: 0.3}", doubted));
}

TEST(CtrlU, EqualsItsFormulas) {
  auto e = rows({1.0, 3.0, 0.5, -0.5});
  auto loss = [&](const std::string& options) { return testing::judge(make<CtrlU>(options), e.now, e.batch); };
  // Doubts 0.5 * 2 and 0.5 * 1; a denoising error of 2.
  double doubted = (-4 * std::exp(-1.0) + 2 * 1.0 - 0 * std::exp(-0.5) + 2 * 0.5) / 4;
  EXPECT_NEAR(loss("{uncertainty_scale: 0.5}").loss, doubted + 2, 1e-14);
  EXPECT_NEAR(loss("{uncertainty_scale: 0.5, reward_weight: 0.1, pretrain_weight: 0}").loss, 0.1 * doubted, 1e-14);
  EXPECT_NEAR(loss("{uncertainty_scale: 0.5, uncertainty_weight: 0.1}").loss, doubted - 0.9 * 3 / 4 + 2, 1e-14);
  EXPECT_NEAR(loss("{uncertainty: false, pretrain_weight: 3}").loss, -1 + 6, 1e-14);
  EXPECT_NEAR(loss("{uncertainty_scale: 0.5}").metrics.mean("uncertainty"), 0.75, 1e-15);
  EXPECT_NEAR(loss("{}").metrics.mean("pretrain_loss"), 2, 1e-15);

  e.now.extra.set(extra::uncertainty, at::tensor({0.0, 1.0, 2.0, 0.5}, at::kDouble));
  double given = (-1 - 3 * std::exp(-1.0) - 0.5 * std::exp(-2.0) + 0.5 * std::exp(-0.5) + 3.5) / 4;
  EXPECT_NEAR(loss("{pretrain_weight: 0}").loss, given, 1e-14);
}

TEST(CtrlU, RowsWithoutARewardOrADoubtAreLeftOut) {
  auto e = rows({1.0, 3.0, kNan, -0.5, kNan, kNan});
  auto judged = testing::judge(make<CtrlU>("{uncertainty_scale: 0.5, pretrain_weight: 0}"), e.now, e.batch);
  // The fourth row has a reward, but nothing to compare it with.
  EXPECT_NEAR(judged.loss, (-4 * std::exp(-1.0) + 2) / 2, 1e-14);
  EXPECT_TRUE(judged.grads.back().isfinite().all().item<bool>());
  EXPECT_EQ(judged.grads.back().narrow(0, 2, 4).abs().sum().item<double>(), 0);
  judged = testing::judge(make<CtrlU>("{uncertainty: false, pretrain_weight: 0}"), e.now, e.batch);
  EXPECT_NEAR(judged.loss, -3.5 / 3, 1e-14);
}

TEST(CtrlU, TheRewardsWeightRisesStepByStepAcrossAStop) {
  auto e = rows({1.0, 1.0});
  auto options = "{ramp_steps: 4, uncertainty: false, pretrain_weight: 0}";
  auto objective = std::make_unique<CtrlU>(make<CtrlU>(options));
  for (double expected : {0.0, -0.25, -0.5, -0.75, -1.0, -1.0}) {
    EXPECT_EQ(testing::judge(*objective, e.now, e.batch).loss, expected);
    objective->stepped({});
    auto resumed = std::make_unique<CtrlU>(make<CtrlU>(options));
    resumed->load_state(objective->state());
    objective = std::move(resumed);
  }
  EXPECT_NE(testing::message_of([&] { objective->load_state({}); }).find("steps"), std::string::npos);
}

TEST(CtrlU, AsksForTwoNoisesOfAnImage) {
  auto needs = make<CtrlU>("{max_level: 0.2}").needs();
  EXPECT_EQ(needs.data, Needs::Data::demonstrations);
  EXPECT_EQ(needs.pathwise->path, Path::noised_data);
  EXPECT_EQ(needs.pathwise->max_level, 0.2);
  EXPECT_EQ(needs.group_size, 2);
  EXPECT_EQ(make<CtrlU>("{uncertainty: false}").needs().group_size, 0);
  auto e = rows({1.0, 2.0, 3.0, 4.0});
  for (auto group : {at::tensor({0, 0, 0, 0}), at::tensor({0, 1, 2, 2})}) {
    e.batch.group = group.to(at::kLong);
    EXPECT_NE(testing::message_of<RunError>([&] { make<CtrlU>("{}").loss(e.now, e.batch); }).find("two rows"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace rft::pathwise_test
