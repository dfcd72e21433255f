/// AMFT's loss re-derived (He et al. 2025, arXiv:2508.06944), its balance, and what every objective must satisfy.
#include "rft/objective/amft.h"

#include <ATen/ATen.h>

#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::amft_test {
namespace {

using testing::make;

/// The example with two rows that the dataset gave, as credit `given: apart` leaves them: without advantage.
testing::Example given_example() {
  testing::Example e = testing::policy_gradient_example();
  Tensor given = at::tensor({0, 1, 0, 0, 0, 1}).to(at::kBool);
  e.batch.extra.set(extra::given, given);
  e.batch.advantage = e.batch.advantage.masked_fill(given.unsqueeze(1), 0);
  e.batch.fill_totals();
  return e;
}

TEST(Amft, Conforms) {
  for (std::string options : {"{}", "{variant: grpo, imitation: 0.3, kl_weight: 0.1, entropy_weight: 0.02}"})
    testing::check_objective(testing::case_of<Amft>(options, given_example));
}

TEST(Amft, IsTheWeightedSumOfImitationAndReinforcement) {
  auto e = given_example();
  Amft objective = make<Amft>("{variant: grpo, imitation: 0.3}");
  auto rl = testing::judge(make<Grpo>("{variant: grpo}"), e.now, e.batch);
  auto got = testing::judge(objective, e.now, e.batch);
  double nll = 0, tokens = 0;
  Tensor gradient = rl.grads[0].mul(0.7);
  for (int64_t i : {1, 5})
    for (int64_t t = 0; t < 5; ++t)
      if (e.batch.mask[i][t].item<bool>()) nll -= e.now.logp[i][t].item<double>(), ++tokens;
  for (int64_t i : {1, 5})
    for (int64_t t = 0; t < 5; ++t)
      if (e.batch.mask[i][t].item<bool>()) gradient[i][t] -= 0.3 / tokens;
  EXPECT_NEAR(got.loss, 0.3 * nll / tokens + 0.7 * rl.loss, 1e-12);
  EXPECT_TRUE(got.grads[0].allclose(gradient, 1e-12, 1e-12));
  EXPECT_NEAR(got.metrics.mean("imitation_nll"), nll / tokens, 1e-12);
  EXPECT_NEAR(got.metrics.mean("amft/imitation"), 0.3, 1e-12);
  // The derivative in the balance, by differences of the loss itself.
  double slope = objective.derivative(0, e.now, e.batch).total().item<double>(), step = 1e-3;
  double above = testing::judge(make<Amft>("{variant: grpo, imitation: 0.301}"), e.now, e.batch).loss,
         below = testing::judge(make<Amft>("{variant: grpo, imitation: 0.299}"), e.now, e.batch).loss;
  EXPECT_NEAR(slope, (above - below) / (2 * step), 1e-9);
}

TEST(Amft, MovesItsBalanceByTheSlopeAndByMissingEntropy) {
  Amft objective = make<Amft>("{imitation: 0.5, meta_rate: 0.1, entropy_rate: 0.2}");
  objective.learn_outer({1.5});
  EXPECT_NEAR(objective.imitation(), 0.65, 1e-12);
  Metrics metrics;
  metrics.add("entropy", 2.0);
  objective.stepped(metrics);  // the first step's entropy is what is aimed at
  EXPECT_NEAR(objective.imitation(), 0.65, 1e-12);
  Metrics lower;
  lower.add("entropy", 1.5);
  objective.stepped(lower);
  EXPECT_NEAR(objective.imitation(), 0.75, 1e-12);
  Amft again = make<Amft>("{imitation: 0.5, meta_rate: 0.1, entropy_rate: 0.2}");
  again.load_state(objective.state());
  again.stepped(lower);
  objective.stepped(lower);
  EXPECT_EQ(again.imitation(), objective.imitation());
  objective.learn_outer({100.0});
  EXPECT_EQ(objective.imitation(), 0.95);
  objective.learn_outer({-100.0});
  EXPECT_EQ(objective.imitation(), 0.05);
  auto refused = [](const char* options) { return testing::message_of([&] { make<Amft>(options); }); };
  EXPECT_NE(refused("{imitation: 0.99}").find("imitation_max"), std::string::npos);
  EXPECT_NE(refused("{given_nll_weight: 1}").find("given_nll_weight"), std::string::npos);
}

}  // namespace
}  // namespace rft::amft_test
