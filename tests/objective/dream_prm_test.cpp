/// DreamPRM's two losses re-derived (Cao et al. 2025, arXiv:2505.20241), its weights, and what every objective must
/// satisfy.
#include "rft/objective/dream_prm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::dream_prm_test {
namespace {

using testing::make;

constexpr char kOptions[] = "{domains: [sums, cards], meta_rate: 0.5}";

testing::Example judged_steps() {
  testing::Example e = testing::policy_gradient_example();
  e.now.score = e.now.logp.add(1), e.now.logp = e.now.entropy = Tensor();
  e.batch.extra = Fields();
  e.batch.extra.set(extra::step_label, e.batch.old_logp.exp());  // somewhere in 0 .. 1
  e.batch.context.set_text("domain", {"sums", "cards", "cards", "sums", "sums", "cards"});
  e.batch.fill_totals();
  return e;
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

TEST(DreamPrm, Conforms) { testing::check_objective(testing::case_of<DreamPrm>(kOptions, judged_steps)); }

TEST(DreamPrm, WeighsEachDomainsSquaredErrors) {
  auto e = judged_steps();
  DreamPrm objective = make<DreamPrm>(kOptions);
  objective.learn_outer({0.4, -1.0});  // 1.2 and 0.5, then of mean 1
  EXPECT_NEAR(objective.weights()[0], 2 * 1.2 / 1.7, 1e-12);
  EXPECT_NEAR(objective.weights()[1], 2 * 0.5 / 1.7, 1e-12);
  double loss = 0, own[2] = {0, 0};
  Tensor gradient = at::zeros_like(e.now.score);
  for (int64_t i = 0; i < 6; ++i)
    for (int64_t t = 0; t < 5; ++t) {
      if (!e.batch.mask[i][t].item<bool>()) continue;
      int k = e.batch.context.text("domain")[static_cast<size_t>(i)] == "cards";
      double p = logistic(e.now.score[i][t].item<double>()),
             error = p - e.batch.extra.tensor(extra::step_label)[i][t].item<double>();
      loss += objective.weights()[k] * error * error, own[k] += error * error;
      gradient[i][t] = objective.weights()[k] * 2 * error * p * (1 - p);
    }
  double steps = e.batch.totals.tokens;
  auto got = testing::judge(objective, e.now, e.batch);
  EXPECT_NEAR(got.loss, loss / steps, 1e-12);
  EXPECT_TRUE(got.grads[0].allclose(gradient.div(steps), 1e-12, 1e-12));
  for (int k : {0, 1})
    EXPECT_NEAR(objective.derivative(k, e.now, e.batch).total().item<double>(), own[k] / steps, 1e-12);
}

TEST(DreamPrm, JudgesWholeAnswersByTheMeanOfTheirSteps) {
  auto e = judged_steps();
  double sum = 0;
  for (int64_t i = 0; i < 6; ++i) {
    double score = 0, outcome = 0;
    double steps = 0;
    for (int64_t t = 0; t < 5; ++t)
      if (e.batch.mask[i][t].item<bool>()) {
        score += e.now.score[i][t].item<double>(), ++steps;
        outcome = e.batch.extra.tensor(extra::step_label)[i][t].item<double>();
      }
    if (steps) sum += std::pow(logistic(score / steps) - outcome, 2);
  }
  EXPECT_NEAR(make<DreamPrm>(kOptions).outer_loss(e.now, e.batch).total().item<double>(), sum / 6, 1e-12);
}

TEST(DreamPrm, KeepsItsWeightsAndNamesWhatDoesNotFit) {
  DreamPrm objective = make<DreamPrm>(kOptions), again = make<DreamPrm>(kOptions);
  objective.learn_outer({-9.0, 1.0});
  EXPECT_EQ(objective.weights(), (std::vector<double>{0, 2}));
  again.load_state(objective.state());
  EXPECT_EQ(again.weights(), objective.weights());
  auto e = judged_steps();
  e.batch.context.set_text("domain", {"sums", "dice", "cards", "sums", "sums", "cards"});
  EXPECT_NE(testing::message_of([&] { objective.loss(e.now, e.batch); }).find("dice"), std::string::npos);
  EXPECT_NE(testing::message_of([] { make<DreamPrm>("{domains: [one]}"); }).find("two"), std::string::npos);
}

}  // namespace
}  // namespace rft::dream_prm_test
