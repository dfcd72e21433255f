/// dpo and kto: what every objective must satisfy, and what they say of batches and options that don't fit.
#include <ATen/ATen.h>

#include "rft/objective/dpo.h"
#include "rft/objective/kto.h"
#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::preference_test {
namespace {

using testing::case_of;
using testing::make;

TEST(Dpo, EveryVariantConforms) {
  for (std::string variant : {"sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft",
                              "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"})
    for (std::string more : {"", ", ld_alpha: 0.3"}) {
      auto one =
          case_of<Dpo>("{beta: 0.5, label_smoothing: 0.2, variant: " + variant + more + "}", testing::pairs_example);
      // Its partners are held constant at what was observed; see below.
      one.differentiable = variant != "aot_unpaired";
      testing::check_objective(one);
    }
}

TEST(Dpo, DivergencesAndMixturesConform) {
  for (std::string options :
       {"{f_divergence: forward_kl, beta: 0.5}", "{f_divergence: js_divergence, beta: 0.5}",
        "{f_divergence: alpha_divergence, f_alpha: 0.5, beta: 0.5}",
        "{variant: [sigmoid, bco_pair, sft], loss_weights: [0.8, 0.2, 1]}", "{variant: [aot, ipo], beta: 0.5}"})
    testing::check_objective(case_of<Dpo>(options, testing::pairs_example));
}

testing::Example pairs_with_a_stranger() {
  auto out = testing::pairs_example();
  out.batch.extra.set(extra::given, at::tensor({1, 0, 0, 0, 1, 0}).to(at::kBool));
  return out;
}

TEST(Dpo, PairsThatThePolicyWouldHardlyGiveCountLess) {
  auto weighted = case_of<Dpo>("{beta: 0.5, weighting: true}", testing::pairs_example);
  weighted.differentiable = false;  // a pair's weight is held constant
  testing::check_objective(weighted);
  auto e = testing::pairs_example();
  auto sum = [&](const Tensor& x) { return at::where(e.batch.mask, x, at::zeros({}, at::kDouble)).sum(1); };
  Tensor mean = sum(e.now.logp).div(e.batch.mask.sum(1).clamp_min(1)), ratio = sum(e.now.logp.sub(e.batch.ref_logp));
  Tensor weight = mean.narrow(0, 0, 3).add(mean.narrow(0, 3, 3)).exp();
  Tensor each = at::log_sigmoid(ratio.narrow(0, 0, 3).sub(ratio.narrow(0, 3, 3)).mul(0.5)).neg();
  auto judged = testing::judge(make<Dpo>("{beta: 0.5, weighting: true}"), e.now, e.batch);
  EXPECT_NEAR(judged.loss, each.mul(weight).mean().item<double>(), 1e-12);
  EXPECT_NEAR(judged.metrics.mean("pair_weight"), weight.mean().item<double>(), 1e-12);
  auto refused = testing::message_of([] { make<Dpo>("{variant: aot, weighting: true}"); });
  EXPECT_NE(refused.find("weighting"), std::string::npos);
}

TEST(Dpo, ExplorationLowersTheLikelihoodOfOthersAnswers) {
  testing::check_objective(case_of<Dpo>("{beta: 0.5, exploration_weight: 0.3}", pairs_with_a_stranger));
  auto e = pairs_with_a_stranger();
  auto loss = [&](const std::string& yaml) { return testing::judge(make<Dpo>(yaml), e.now, e.batch).loss; };
  double likely = 0;
  for (int row : {0, 4}) likely += e.now.logp[row].masked_select(e.batch.mask[row]).sum().item<double>();
  EXPECT_NEAR(loss("{exploration_weight: 0.3}") - loss("{}"), 0.3 * likely / 3, 1e-12);
  e.batch.extra.erase(extra::given);
  auto missing = testing::message_of<RunError>([&] { loss("{exploration_weight: 0.3}"); });
  EXPECT_NE(missing.find("given"), std::string::npos);
}

TEST(Dpo, SortedPairsHaveTheGradientOfTheWholeWithoutObservationToo) {
  auto e = testing::pairs_example();
  for (std::string variant : {"aot", "aot_unpaired"}) {
    auto objective = make<Dpo>("{beta: 0.5, variant: " + variant + "}");
    auto judged = testing::judge(objective, e.now, e.batch);
    Tensor grad = judged.grads[0].flatten();
    for (int64_t i = 0; i < grad.numel(); ++i) {
      double ends[2];
      for (int side : {0, 1}) {
        Evaluation moved = e.now;
        moved.logp = e.now.logp.clone();
        moved.logp.flatten()[i].add_(side ? 1e-6 : -1e-6);
        ends[side] = testing::judge(objective, moved, e.batch).loss;
      }
      EXPECT_NEAR((ends[1] - ends[0]) / 2e-6, grad[i].item<double>(), 1e-8) << variant << " " << i;
    }
    objective.observe(e.now, e.batch);
    testing::expect_same(testing::judge(objective, e.now, e.batch), judged, variant + " observed");
  }
}

TEST(Dpo, PairsOfEqualValueShareTheirPartners) {
  // Two equal pairs against reference margins 1 and 3: each meets both.
  Experience batch;
  batch.mask = at::ones({4, 1}, at::kBool);
  batch.ref_logp = at::tensor({1.0, 3.0, 0.0, 0.0}, at::kDouble).unsqueeze(1);
  batch.fill_totals();
  Evaluation now;
  now.logp = at::tensor({2.0, 2.0, 0.0, 0.0}, at::kDouble).unsqueeze(1);
  auto judged = testing::judge(make<Dpo>("{variant: aot, beta: 1}"), now, batch);
  double expected = (std::log1p(std::exp(-1.0)) + std::log1p(std::exp(1.0))) / 2;
  EXPECT_NEAR(judged.loss, expected, 1e-14);
  EXPECT_EQ(judged.grads[0][0].item<double>(), judged.grads[0][1].item<double>());
}

TEST(Dpo, PartOfABatchThatMustBeComparedWholeIsRefused) {
  auto e = testing::pairs_example();
  auto rows = e.parts[0];
  Evaluation now = testing::map(e.now, [&](const Tensor& x) { return x.index_select(0, rows); });
  auto refuse = [&](const std::string& options, const Evaluation& part, const Experience& batch) {
    return testing::message_of<RunError>([&] { make<Dpo>(options).loss(part, batch); });
  };
  EXPECT_NE(refuse("{variant: aot}", now, e.batch.select(rows)).find("2 of 6 rows"), std::string::npos);
  EXPECT_TRUE(make<Dpo>("{variant: [sigmoid, aot]}").needs().whole_batch);
  EXPECT_FALSE(make<Dpo>("{variant: [sigmoid, sft]}").needs().whole_batch);
  EXPECT_FALSE(make<Dpo>("{}").needs().whole_batch);
  Evaluation odd = testing::map(e.now, [](const Tensor& x) { return x.narrow(0, 0, 5); });
  EXPECT_NE(refuse("{}", odd, e.batch.select(at::arange(5))).find("even"), std::string::npos);
}

TEST(Dpo, AnotherStepsObservationIsForgotten) {
  auto e = testing::pairs_example();
  auto objective = make<Dpo>("{variant: aot}");
  auto fresh = testing::judge(objective, e.now, e.batch);
  Experience other = e.batch;
  other.ref_logp = e.batch.ref_logp.mul(3);
  objective.observe(e.now, other);
  EXPECT_GT(std::abs(testing::judge(objective, e.now, e.batch).loss - fresh.loss), 1e-3);
  objective.stepped({});
  testing::expect_same(testing::judge(objective, e.now, e.batch), fresh, "after the step");
}

TEST(Dpo, OptionsThatContradictEachOtherAreRefusedByName) {
  auto refuse = [](const std::string& yaml) { return testing::message_of([&] { make<Dpo>(yaml); }); };
  EXPECT_NE(refuse("{variant: exo_pair}").find("label_smoothing"), std::string::npos);
  EXPECT_NE(refuse("{variant: robust, label_smoothing: 0.5}").find("label_smoothing"), std::string::npos);
  EXPECT_NE(refuse("{variant: [sigmoid, ipo], loss_weights: [1]}").find("loss_weights"), std::string::npos);
  EXPECT_NE(refuse("{variant: aot, f_divergence: forward_kl}").find("reverse_kl"), std::string::npos);
  EXPECT_NE(refuse("{variant: sigmoit}").find("sigmoid"), std::string::npos);
  EXPECT_NE(refuse("{variant: []}").find("variant"), std::string::npos);
}

TEST(Kto, EveryVariantConforms) {
  testing::check_objective(
      case_of<Kto>("{beta: 0.4, desirable_weight: 0.7, undesirable_weight: 1.3}", testing::unpaired_example));
  for (std::string options : {"{reference_point: zero, beta: 0.4}", "{variant: apo_zero_unpaired, beta: 0.4}"}) {
    auto one = case_of<Kto>(options, testing::unpaired_example);
    one.whole_metrics = {"rewards/margins"};
    testing::check_objective(one);
  }
}

TEST(Kto, BcosShiftIsTheMeanRewardOfAllRowsSoFar) {
  auto e = testing::unpaired_example();
  auto one = case_of<Kto>("{variant: bco, beta: 0.4, desirable_weight: 0.7}", testing::unpaired_example);
  one.differentiable = false;  // the shift is held constant
  testing::check_objective(one);

  auto objective = make<Kto>("{variant: bco, beta: 0.4}");
  Tensor ratio = at::where(e.batch.mask, e.now.logp.sub(e.batch.ref_logp), at::zeros({}, at::kDouble)).sum(1);
  Tensor good = e.batch.extra.tensor(extra::label).ne(0);
  auto expect_shift = [&](double shift) {
    Tensor z = ratio.mul(0.4).sub(shift);
    Tensor each = at::log_sigmoid(at::where(good, z, z.neg())).neg();
    auto judged = testing::judge(objective, e.now, e.batch);
    EXPECT_NEAR(judged.loss, each.mean().item<double>(), 1e-12);
    EXPECT_NEAR(judged.metrics.mean("delta"), shift, 1e-12);
    // By hand: -s(-z) of a good answer, s(z) of a bad one, times beta / rows, at each of its decisions.
    Tensor slope = at::where(good, z.neg().sigmoid().neg(), z.sigmoid()).mul(0.4 / 6).unsqueeze(1).mul(e.batch.mask);
    EXPECT_LE(judged.grads[0].sub(slope).abs().max().item<double>(), 1e-12);
  };
  double mean = ratio.mean().item<double>() * 0.4;
  expect_shift(mean);
  objective.observe(e.now, e.batch), objective.stepped({});
  // Another step, whose rewards are all higher by 1: the mean of twelve rows.
  e.now.logp = e.now.logp.add(
      at::where(e.batch.mask, e.batch.mask.sum(1, true).to(at::kDouble).clamp_min(1).reciprocal().mul(2.5), 0));
  ratio = ratio.add(at::where(e.batch.mask.any(1), 2.5, 0));
  double next = (mean + ratio.mean().item<double>() * 0.4) / 2;
  expect_shift(next);
  auto restored = make<Kto>("{variant: bco, beta: 0.4}");
  restored.load_state(objective.state());
  EXPECT_NEAR(testing::judge(restored, e.now, e.batch).metrics.mean("delta"), next, 1e-12);
  auto part = e.batch.select(e.parts[0]);
  Evaluation now = testing::map(e.now, [&](const Tensor& x) { return x.index_select(0, e.parts[0]); });
  EXPECT_NE(testing::message_of<RunError>([&] { objective.loss(now, part); }).find("observe()"), std::string::npos);
}

TEST(Kto, WhatIsMaskedOfTheOtherPromptsAnswersDoesNotCount) {
  auto e = testing::unpaired_example();
  auto objective = make<Kto>("{}");
  auto clean = testing::judge(objective, e.now, e.batch);
  EXPECT_GT(clean.metrics.mean("kl"), 0);
  Tensor hidden = e.batch.extra.tensor(extra::kl_mask).logical_not();
  for (const char* name : {extra::kl_logp, extra::kl_ref_logp})
    e.batch.extra.set(name, e.batch.extra.tensor(name).masked_fill(hidden, std::nan("")));
  testing::expect_same(testing::judge(objective, e.now, e.batch), clean, "garbage where masked");
}

TEST(Kto, TheEvaluationsReferencePointGoesBeforeTheBatchs) {
  auto e = testing::unpaired_example();
  auto objective = make<Kto>("{}");
  e.now.extra.set(extra::kl_logp, e.batch.extra.tensor(extra::kl_ref_logp).add(2.0));
  // Eleven decisions of six rows, each 2 nats more likely than under the reference.
  EXPECT_NEAR(objective.loss(e.now, e.batch).metrics.mean("kl"), 22.0 / 6, 1e-12);
  e.now.extra.set(extra::kl_logp, e.batch.extra.tensor(extra::kl_ref_logp).sub(2.0));
  EXPECT_EQ(objective.loss(e.now, e.batch).metrics.mean("kl"), 0);
}

TEST(Kto, SaysWhatIsMissing) {
  auto e = testing::unpaired_example();
  auto whole = e.batch;
  e.batch = whole.select(e.parts[0]);
  e.now = testing::map(e.now, [&](const Tensor& x) { return x.index_select(0, e.parts[0]); });
  EXPECT_NE(testing::message_of<RunError>([&] { make<Kto>("{}").loss(e.now, e.batch); }).find("observe()"),
            std::string::npos);
  e.batch.extra.erase(extra::label);
  EXPECT_NE(testing::message_of<RunError>([&] { make<Kto>("{}").loss(e.now, e.batch); }).find("label"),
            std::string::npos);
  EXPECT_TRUE(make<Kto>("{}").needs().mismatched);
  EXPECT_FALSE(make<Kto>("{reference_point: zero}").needs().mismatched);
}

}  // namespace
}  // namespace rft::preference_test
