#include "tests/conformance/conformance.h"

#include "rft/objective/gmpo.h"
#include "rft/objective/grpo.h"
#include "rft/objective/rloo.h"
#include "rft/objective/sft.h"
#include "support.h"

namespace rft::conformance_test {
namespace {

using testing::ObjectiveCase;

template <class T>
ObjectiveCase case_of(const std::string& options) {
  ObjectiveCase out;
  out.name = options;
  out.make = [options] { return std::make_unique<T>(read_options<typename T::Options>(Config::parse(options))); };
  out.example = testing::policy_gradient_example;
  return out;
}

TEST(Conformance, SftAndRaft) {
  testing::check_objective(case_of<Sft>("{}"));
  testing::check_objective(case_of<Raft>("{}"));
}

TEST(Conformance, EveryVariantOfGrpo) {
  for (std::string variant : {"grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"})
    for (std::string level : {"token", "sequence"}) {
      std::string shape = "max_completion_length: 7, variant: " + variant + ", ratio_level: " + level;
      auto plain = case_of<Grpo>("{" + shape + (variant == "cispo" ? ", clip_high: 1.3" : "") + "}");
      plain.flat_at_zero_advantage = true;
      plain.differentiable = variant != "cispo" && variant != "vespo";
      testing::check_objective(plain);
      auto full = case_of<Grpo>("{" + shape +
                                ", kl_weight: 0.1, entropy_weight: 0.02, entropy_quantile: 0.6, "
                                "mask_truncated_completions: true, off_policy_threshold: 0.3, "
                                "sampler_correction: token_truncate, sampler_correction_max: 1.1}");
      full.differentiable = plain.differentiable;
      testing::check_objective(full);
    }
}

TEST(Conformance, OtherOptionsOfGrpo) {
  for (std::string options :
       {"{clip_high: 0.28, clip_delta: 1.1}", "{kl_weight: 0.1, kl_ratio_correction: false}",
        "{mask_truncated_completions: true}", "{sampler_correction: sequence_mask, sampler_correction_max: 1.2}",
        "{sampler_correction: sequence_truncate}", "{sampler_correction: token_mask, sampler_correction_min: 0.9}",
        "{entropy_adaptive: true, entropy_weight: 0.1}"})
    testing::check_objective(case_of<Grpo>(options));
}

TEST(Conformance, GmpoAndRloo) {
  for (std::string options : {"{}", "{clip_low: 0.1, clip_high: 0.2}", "{entropy_quantile: 0.45}"}) {
    auto one = case_of<Gmpo>(options);
    one.flat_at_zero_advantage = true;
    testing::check_objective(one);
  }
  testing::check_objective(case_of<Gmpo>("{kl_weight: 0.1}"));
  auto rloo = case_of<Rloo>("{clip_low: 0.1}");
  rloo.flat_at_zero_advantage = true;
  testing::check_objective(rloo);
}

TEST(Grpo, IsExactlyOnPolicyWithoutOldLogProbabilities) {
  auto e = testing::policy_gradient_example();
  e.batch.old_logp = Tensor();
  auto judged = testing::judge(Grpo({}), e.now, e.batch);
  Tensor expected = e.batch.advantage.mul(e.batch.mask).div(-e.batch.totals.tokens);
  EXPECT_TRUE(judged.grads[0].allclose(expected, 0, 1e-15));
  EXPECT_EQ(judged.metrics.mean("clip_ratio/region_mean"), 0);
}

TEST(Grpo, AnotherStepsObservationIsForgotten) {
  auto e = testing::policy_gradient_example();
  Grpo objective(read_options<Grpo::Options>(Config::parse("{entropy_quantile: 0.5}")));
  auto fresh = testing::judge(objective, e.now, e.batch);
  auto other = e.now;
  other.entropy = e.now.entropy.mul(10);
  objective.observe(other, e.batch);
  EXPECT_EQ(testing::judge(objective, e.now, e.batch).grads[0].count_nonzero().item<int64_t>(), 0);
  objective.stepped({});
  testing::expect_same(testing::judge(objective, e.now, e.batch), fresh, "after the step");
}

/// The example with what its tokens do to right answers; the last group has answers of one kind alone.
testing::Example influenced_example() {
  testing::Example e = testing::policy_gradient_example();
  at::Generator g = at::detail::createCPUGenerator(8);
  e.batch.extra.set(extra::token_influence, at::randn({6, 5}, g, at::TensorOptions().dtype(at::kDouble)));
  e.batch.extra.set(extra::influence_anchor, at::tensor({0.4, 0.4, 0.7, 0.7, -std::numeric_limits<double>::infinity(),
                                                         -std::numeric_limits<double>::infinity()},
                                                        at::kDouble));
  return e;
}

/// Deng et al. 2025, arXiv:2510.03669: A 1[|THR| > tau] (1 + p sign(THR)), THR = sign(A) s.
TEST(Grpo, WeighsTokensByTheirHiddenReward) {
  for (std::string options : {"{thr: 0.3}", "{thr: -0.5, thr_threshold: 1.2, variant: grpo}",
                              "{thr_threshold: 0.8, variant: grpo, ratio_level: sequence}"})
    testing::check_objective(testing::case_of<Grpo>(options, influenced_example));
  testing::Example e = influenced_example();
  for (double p : {0.3, -0.4}) {
    auto got = testing::judge(testing::make<Grpo>(cat("{thr: ", p, ", thr_threshold: 1.2}")), e.now, e.batch);
    double loss = 0, kept = 0, positive = 0, tokens = 0;
    Tensor gradient = at::zeros_like(e.now.logp);
    for (int64_t i = 0; i < 6; ++i)
      for (int64_t t = 0; t < 5; ++t) {
        if (!e.batch.mask[i][t].item<bool>()) continue;
        double a = e.batch.advantage[i][t].item<double>(),
               s = e.batch.extra.tensor(extra::token_influence)[i][t].item<double>(), hidden = a > 0 ? s : -s;
        bool large = std::abs(hidden) > 1.2 * e.batch.extra.tensor(extra::influence_anchor)[i].item<double>();
        double weight = large ? (hidden > 0 ? 1 + p : 1 - p) : 0;
        double ratio = std::exp(e.now.logp[i][t].item<double>() - e.batch.old_logp[i][t].item<double>());
        double clipped = std::clamp(ratio, 0.8, 1.2);
        loss -= weight * std::min(ratio * a, clipped * a);
        if (ratio * a <= clipped * a) gradient[i][t] = -weight * ratio * a;
        ++tokens, kept += large, positive += hidden > 0;
      }
    EXPECT_NEAR(got.loss, loss / tokens, 1e-12);
    EXPECT_TRUE(got.grads[0].allclose(gradient.div(tokens), 1e-12, 1e-12));
    EXPECT_NEAR(got.metrics.mean("thr/kept"), kept / tokens, 1e-12);
    EXPECT_NEAR(got.metrics.mean("thr/positive"), positive / tokens, 1e-12);
    EXPECT_GT(kept, 0);
    EXPECT_LT(kept, tokens);
  }
}

TEST(Grpo, OptionsThatContradictEachOtherAreRefusedByName) {
  auto refuse = [](const std::string& yaml) {
    return testing::message_of([&] { Grpo(read_options<Grpo::Options>(Config::parse(yaml))); });
  };
  EXPECT_NE(refuse("{variant: dr_grpo}").find("max_completion_length"), std::string::npos);
  EXPECT_NE(refuse("{sampler_correction_min: 4}").find("sampler_correction_max"), std::string::npos);
  EXPECT_NE(refuse("{entropy_weight_min: 2}").find("entropy_weight_max"), std::string::npos);
  EXPECT_NE(refuse("{variant: gspo}").find("dapo"), std::string::npos);
  EXPECT_NE(refuse("{clip_lo: 0.1}").find("clip_low"), std::string::npos);
}

TEST(Grpo, AsksOnlyForWhatItsOptionsUse) {
  auto needs = [](const std::string& yaml) { return Grpo(read_options<Grpo::Options>(Config::parse(yaml))).needs(); };
  EXPECT_FALSE(needs("{}").ref_logp || needs("{}").entropy || needs("{}").whole_batch);
  EXPECT_TRUE(needs("{}").advantage && needs("{}").reward);
  EXPECT_TRUE(needs("{kl_weight: 0.1}").ref_logp);
  EXPECT_FALSE(needs("{}").token_influence);
  EXPECT_TRUE(needs("{thr: 0.1}").token_influence && needs("{thr_threshold: 1}").token_influence);
  EXPECT_TRUE(needs("{entropy_adaptive: true}").entropy);
  EXPECT_TRUE(needs("{entropy_quantile: 0.2}").whole_batch);
  EXPECT_TRUE(needs("{mask_truncated_completions: true}").whole_batch);
  EXPECT_FALSE(needs("{mask_truncated_completions: true, variant: grpo}").whole_batch);
}

TEST(Grpo, AMissingColumnIsNamed) {
  auto e = testing::policy_gradient_example();
  e.batch.ref_logp = Tensor();
  Grpo objective(read_options<Grpo::Options>(Config::parse("{kl_weight: 0.1}")));
  EXPECT_NE(testing::message_of<RunError>([&] { objective.loss(e.now, e.batch); }).find("ref_logp"), std::string::npos);
}

}  // namespace
}  // namespace rft::conformance_test
