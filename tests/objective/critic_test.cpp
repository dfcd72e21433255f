/// reinforce and ppo against their formulas, written out decision by decision.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "rft/objective/grpo.h"
#include "rft/objective/ppo.h"
#include "rft/objective/reinforce.h"
#include "rft/objective/rwr.h"
#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::critic_test {
namespace {

using testing::case_of;
using testing::make;

double term(const Loss& loss, const std::string& name) {
  for (const auto& one : loss.terms)
    if (one.name == name) return one.value.item<double>();
  ADD_FAILURE() << "no term " << name;
  return 0;
}

/// The mean over all decisions of what `each` says of row i, column t.
template <class F>
double mean_over(const Experience& batch, F each) {
  double sum = 0, count = 0;
  for (int64_t i = 0; i < batch.mask.size(0); ++i)
    for (int64_t t = 0; t < batch.mask.size(1); ++t)
      if (batch.mask[i][t].item<bool>()) sum += each(i, t), ++count;
  return sum / count;
}
double cell(const Tensor& x, int64_t i, int64_t t) { return x[i][t].item<double>(); }

TEST(Reinforce, Conforms) {
  auto plain = case_of<Reinforce>("{}", testing::policy_gradient_example);
  plain.flat_at_zero_advantage = true;
  testing::check_objective(plain);
  for (std::string estimator : {"k1", "k2", "k3"})
    testing::check_objective(case_of<Reinforce>(
        "{entropy_weight: 0.05, kl_weight: 0.3, kl_estimator: " + estimator + "}", testing::policy_gradient_example));
}

TEST(Reinforce, EqualsItsFormula) {
  auto e = testing::policy_gradient_example();
  for (std::string estimator : {"k1", "k2", "k3"}) {
    Loss loss =
        make<Reinforce>("{entropy_weight: 0.5, kl_weight: 0.3, kl_estimator: " + estimator + "}").loss(e.now, e.batch);
    double policy =
        mean_over(e.batch, [&](auto i, auto t) { return -cell(e.batch.advantage, i, t) * cell(e.now.logp, i, t); });
    double entropy = mean_over(e.batch, [&](auto i, auto t) { return cell(e.now.entropy, i, t); });
    double kl = mean_over(e.batch, [&](auto i, auto t) {
      double x = cell(e.now.logp, i, t) - cell(e.batch.ref_logp, i, t);
      return estimator == "k1" ? x : estimator == "k2" ? x * x / 2 : std::exp(-x) + x - 1;
    });
    EXPECT_NEAR(term(loss, "policy_loss"), policy, 1e-12);
    EXPECT_NEAR(loss.metrics.mean("policy_loss"), policy, 1e-12);
    EXPECT_NEAR(term(loss, "entropy_bonus"), -0.5 * entropy, 1e-12);
    EXPECT_NEAR(term(loss, "kl_penalty"), 0.3 * kl, 1e-12);
    EXPECT_NEAR(loss.metrics.mean("kl"), kl, 1e-12);
  }
}

TEST(Ppo, Conforms) {
  for (std::string options :
       {"{}", "{ratio_level: sequence, clip_high: 0.3, value_weight: 1}", "{clip_delta: 1.25, value_clip: 0.1}",
        "{value_clip: null, value_weight: 0.5}", "{clip_base: 0.02, clip_rate: 2, clip_high: 0.4, clip_delta: 1.5}",
        "{entropy_weight: 0.05, kl_weight: 0.2, kl_estimator: k1}"})
    testing::check_objective(case_of<Ppo>(options, testing::critic_example));
  auto actor = case_of<Ppo>("{value_weight: 0}", testing::policy_gradient_example);
  actor.flat_at_zero_advantage = true;
  testing::check_objective(actor);
}

TEST(Ppo, EqualsItsFormula) {
  auto e = testing::critic_example();
  for (bool dual : {false, true}) {
    Loss loss = make<Ppo>(std::string("{clip_low: 0.1, clip_high: 0.3, value_weight: 0.7, value_clip: 0.2") +
                          (dual ? ", clip_delta: 1.35}" : "}"))
                    .loss(e.now, e.batch);
    int64_t clipped = 0, bounded = 0;
    double policy = mean_over(e.batch, [&](auto i, auto t) {
      double advantage = cell(e.batch.advantage, i, t),
             r = std::exp(cell(e.now.logp, i, t) - cell(e.batch.old_logp, i, t));
      double loss = std::max(-r * advantage, -std::clamp(r, 0.9, 1.3) * advantage);
      if (loss > -r * advantage) ++clipped;
      if (!dual || advantage >= 0 || loss <= -advantage * 1.35) return loss;
      ++bounded;
      return -advantage * 1.35;  // Ye et al., as verl has it
    });
    double value = mean_over(e.batch, [&](auto i, auto t) {
      double v = cell(e.now.value, i, t), old = cell(e.batch.extra.tensor(extra::old_value), i, t);
      double target = cell(e.batch.extra.tensor(extra::returns), i, t), near = std::clamp(v, old - 0.2, old + 0.2);
      return 0.5 * std::max((v - target) * (v - target), (near - target) * (near - target));
    });
    EXPECT_GT(clipped, 0);
    EXPECT_EQ(bounded > 0, dual);
    EXPECT_NEAR(term(loss, "policy_loss"), policy, 1e-12);
    EXPECT_NEAR(term(loss, "value_loss"), 0.7 * value, 1e-12);
    EXPECT_NEAR(loss.metrics.mean("value_loss"), value, 1e-12);
    EXPECT_GT(loss.metrics.mean("value_clip_ratio"), 0);
  }
}

TEST(Ppo, ClipsTheFirstDecisionsOfARowCloserThanTheLast) {
  auto e = testing::critic_example();
  Loss loss = make<Ppo>("{clip_low: 0.2, clip_high: 0.4, clip_base: 0.01, clip_rate: 3}").loss(e.now, e.batch);
  Tensor lengths = e.batch.mask.sum(1);
  std::vector<double> hit(5);
  double policy = mean_over(e.batch, [&](auto i, auto t) {
    double last = lengths[i].template item<double>() - 1;  // rows are not padded in front
    double share = std::expm1(3.0 * static_cast<double>(t) / last) / std::expm1(3.0);
    double low = 1 - (0.01 + 0.19 * share), high = 1 + (0.01 + 0.39 * share);
    double advantage = cell(e.batch.advantage, i, t),
           r = std::exp(cell(e.now.logp, i, t) - cell(e.batch.old_logp, i, t));
    return std::max(-r * advantage, -std::clamp(r, low, high) * advantage);
  });
  EXPECT_NEAR(term(loss, "policy_loss"), policy, 1e-12);
  // One decision is the last one: the whole distance.
  e.batch.mask = at::arange(5).unsqueeze(0).lt(at::ones({6, 1})), e.batch.fill_totals();
  EXPECT_EQ(term(make<Ppo>("{clip_base: 0.01}").loss(e.now, e.batch), "policy_loss"),
            term(make<Ppo>("{}").loss(e.now, e.batch), "policy_loss"));
  EXPECT_NE(testing::message_of([] { make<Ppo>("{clip_base: 0.01, ratio_level: sequence}"); }).find("token"),
            std::string::npos);
}

TEST(Ppo, ACriticMayWarmUpAlone) {
  auto e = testing::critic_example();
  Ppo objective = make<Ppo>("{critic_warmup: 2, value_weight: 0.7, entropy_weight: 0.1}");
  double value = term(make<Ppo>("{value_weight: 0.7}").loss(e.now, e.batch), "value_loss");
  for (int step = 0; step < 2; ++step) {
    Loss loss = objective.loss(e.now, e.batch);
    ASSERT_EQ(loss.terms.size(), 1u);
    EXPECT_EQ(loss.terms[0].value.item<double>(), value);
    EXPECT_EQ(loss.terms[0].trains, std::vector<std::string>{groups::critic});
    objective.stepped({});
  }
  EXPECT_EQ(objective.loss(e.now, e.batch).terms.size(), 3u);
  // A resumed one knows that it is over.
  Ppo resumed = make<Ppo>("{critic_warmup: 2}");
  resumed.load_state(objective.state());
  EXPECT_EQ(resumed.loss(e.now, e.batch).terms.size(), 2u);
  EXPECT_NE(testing::message_of([] { make<Ppo>("{critic_warmup: 2, value_weight: 0}"); }).find("value_weight"),
            std::string::npos);
}

/// Advantage-weighted regression: the likelihood's term is that without a critic, the critic's term is PPO's.
TEST(Rwr, TrainsACriticBesideThePolicy) {
  testing::check_objective(case_of<Rwr>("{value_weight: 0.7, value_clip: 0.1}", testing::critic_example));
  auto e = testing::critic_example();
  Rwr objective = make<Rwr>("{critic_warmup: 1, value_weight: 0.7, temperature: 2}");
  Loss warming = objective.loss(e.now, e.batch);
  ASSERT_EQ(warming.terms.size(), 1u);
  EXPECT_EQ(warming.terms[0].trains, std::vector<std::string>{groups::critic});
  objective.stepped({});
  Loss loss = objective.loss(e.now, e.batch);
  EXPECT_EQ(term(loss, "value_loss"),
            term(make<Ppo>("{value_weight: 0.7, value_clip: null}").loss(e.now, e.batch), "value_loss"));
  EXPECT_EQ(term(loss, "policy_loss"), term(make<Rwr>("{temperature: 2}").loss(e.now, e.batch), "policy_loss"));
  EXPECT_EQ(objective.needs().credit, "gae");
  Rwr resumed = make<Rwr>("{critic_warmup: 1, value_weight: 0.7}");
  resumed.load_state(objective.state());
  EXPECT_EQ(resumed.loss(e.now, e.batch).terms.size(), 2u);
  EXPECT_NE(testing::message_of([] { make<Rwr>("{weigh: reward, value_weight: 1}"); }).find("weigh"),
            std::string::npos);
}

TEST(Ppo, WithoutACriticItsSurrogateIsThatOfGrpo) {
  auto e = testing::policy_gradient_example();
  for (std::string level : {"token", "sequence"})
    testing::expect_same(
        testing::judge(make<Grpo>("{clip_high: 0.3, clip_delta: 1.4, ratio_level: " + level + "}"), e.now, e.batch),
        [&] {
          auto own = testing::judge(
              make<Ppo>("{value_weight: 0, clip_high: 0.3, clip_delta: 1.4, ratio_level: " + level + "}"), e.now,
              e.batch);
          own.metrics = testing::without(own.metrics, {"policy_loss"});
          return own;
        }(),
        level);
}

TEST(Ppo, AsksForACriticOnlyWhereItLearns) {
  EXPECT_TRUE(make<Ppo>("{}").needs().value && make<Ppo>("{}").needs().advantage);
  EXPECT_FALSE(make<Ppo>("{value_weight: 0}").needs().value);
  EXPECT_FALSE(make<Ppo>("{}").needs().entropy || make<Ppo>("{}").needs().ref_logp);
  EXPECT_TRUE(make<Ppo>("{kl_weight: 0.1}").needs().ref_logp);
  auto e = testing::policy_gradient_example();
  EXPECT_NE(testing::message_of<RunError>([&] { make<Ppo>("{}").loss(e.now, e.batch); }).find("`value`"),
            std::string::npos);
  e = testing::critic_example();
  e.batch.extra.erase(extra::old_value);
  make<Ppo>("{value_clip: null}").loss(e.now, e.batch);
  EXPECT_NE(testing::message_of<RunError>([&] { make<Ppo>("{}").loss(e.now, e.batch); }).find("old_value"),
            std::string::npos);
  EXPECT_NE(testing::message_of([] { make<Ppo>("{clip_high: 0.5, clip_delta: 1.5}"); }).find("clip_delta"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::critic_test
