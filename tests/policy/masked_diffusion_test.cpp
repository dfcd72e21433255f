// Unmasking as decisions, on a model that knows every sequence's probability: what the sampler reports, what the judge
// computes and what enumeration says are one number, and gradients are those of finite differences.
#include "rft/policy/masked_diffusion.h"

#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "rft/io/rows.h"
#include "support.h"
#include "table_denoiser.h"

namespace rft::masked_diffusion_test {
namespace {

using testing::table_policy;

Experience masked(int64_t rows) {
  Experience out;
  out.context.set("tokens", at::full({rows, 3}, 2, at::kLong));
  return out;
}

Experience roll_out(MaskedDiffusion& policy, int64_t rows, uint64_t seed = 3) {
  SampleRequest request;
  request.seed = seed;
  return policy.sample(masked(rows), request);
}

/// All eight sequences, unmasked at these steps.
Experience all_sequences(const std::vector<int64_t>& when) {
  Experience out = masked(8);
  Tensor number = at::arange(8);
  out.action = at::stack({number.div(4, "floor"), number.div(2, "floor").remainder(2), number.remainder(2)}, 1);
  out.mask = at::ones({8, 3}, at::kBool);
  out.context.set("unmask_step", at::tensor(when, at::kLong).expand({8, 3}).contiguous());
  return out;
}

Tensor joint(MaskedDiffusion& policy) { return policy.parameters()[0].value.detach().log_softmax(0); }

Tensor draws(int64_t rows, int64_t first = 0) {
  return at::arange(first, first + 2 * rows, at::kLong).mul(7919).view({rows, 2});
}

double distance(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

TEST(MaskedDiffusion, ProbabilitiesOfAllSequencesAddUpToOneInEveryOrder) {
  auto policy = table_policy();
  for (std::vector<int64_t> when : {std::vector<int64_t>{0, 1, 2}, {2, 0, 1}, {1, 0, 1}, {0, 0, 0}, {2, 2, 0}}) {
    Tensor logp = policy->evaluate(all_sequences(when), {}).logp.sum(1);
    EXPECT_NEAR(logp.exp().sum().item<double>(), 1, 1e-12);
    bool one_by_one = when[0] + when[1] + when[2] == 3 && when[0] != when[1];
    EXPECT_EQ(distance(logp, joint(*policy)) < 1e-12, one_by_one) << "exact where a step unmasks one token";
  }
}

TEST(MaskedDiffusion, TheJudgeGivesTheSamplersLogProbabilities) {
  for (const char* order : {"random", "even", "left_to_right"}) {
    auto policy = table_policy(cat("{steps: 2, temperature: 0.7, order: ", order, "}"));
    Experience batch = roll_out(*policy, 40);
    EXPECT_EQ(batch.action.max().item<int64_t>(), 1) << "all masks are gone";
    auto known = policy->evaluate(batch, {});
    EXPECT_TRUE(known.logp_is_samplers);
    EXPECT_TRUE(known.logp.equal(batch.logp)) << "the first ratio is 1 exactly";
    policy->stepped(1);
    auto computed = policy->evaluate(batch, {});
    EXPECT_FALSE(computed.logp_is_samplers);
    EXPECT_LE(distance(computed.logp, batch.logp), 1e-12);
    EXPECT_LE(distance(computed.entropy, batch.extra.tensor(extra::entropy)), 1e-12);
    EXPECT_LE(distance(policy->ref_logp(batch, {}), batch.logp), 1e-12);
  }
}

TEST(MaskedDiffusion, SamplesFollowTheTable) {
  constexpr int64_t kSamples = 20000;
  auto policy = table_policy("{order: even}");
  Tensor action = roll_out(*policy, kSamples).action;
  Tensor number = action.select(1, 0).mul(4).add(action.select(1, 1).mul(2)).add(action.select(1, 2));
  Tensor found = at::bincount(number, {}, 8).to(at::kDouble).div(kSamples), expected = joint(*policy).exp();
  Tensor sigma = expected.mul(expected.neg().add(1)).div(kSamples).sqrt();
  EXPECT_LE(found.sub(expected).div(sigma).abs().max().item<double>(), 4);
}

TEST(MaskedDiffusion, TheOrdersAreWhatTheySay) {
  auto steps = [](const char* rollout, int64_t rows) {
    auto policy = table_policy(rollout);
    return roll_out(*policy, rows).context.tensor("unmask_step");
  };
  EXPECT_TRUE(steps("{order: left_to_right}", 2).equal(at::arange(3).expand({2, 3})));
  Tensor even = std::get<0>(steps("{order: even}", 500).sort(1));
  EXPECT_TRUE(even.equal(at::arange(3).expand({500, 3})));
  Tensor random = steps("{steps: 4}", 4000).to(at::kDouble);
  EXPECT_NEAR(random.mean().item<double>(), 1.5, 0.05);
  EXPECT_NEAR(random.std().item<double>(), std::sqrt(1.25), 0.05) << "each step is as likely as any other";
}

TEST(MaskedDiffusion, GivenTokensStay) {
  auto policy = table_policy();
  Experience contexts = masked(50);
  contexts.context.tensor("tokens").select(1, 1).fill_(1);
  SampleRequest request;
  request.group_size = 2;
  Experience batch = policy->sample(contexts, request);
  EXPECT_TRUE(batch.action.select(1, 1).eq(1).all().item<bool>());
  EXPECT_FALSE(batch.mask.select(1, 1).any().item<bool>());
  EXPECT_EQ(batch.logp.select(1, 1).abs().max().item<double>(), 0);
  EXPECT_EQ(batch.mask.sum().item<int64_t>(), 200);
}

/// d value / d table by central differences.
Tensor numerical(MaskedDiffusion& policy, const std::function<double()>& value) {
  at::NoGradGuard no_grad;
  Tensor table = policy.parameters()[0].value, out = at::zeros_like(table);
  for (int64_t i = 0; i < table.numel(); ++i) {
    double ends[2], step = 1e-6;
    for (int side : {0, 1}) {
      table[i].add_(side ? step : -step);
      ends[side] = value();
      table[i].add_(side ? -step : step);
    }
    out[i] = (ends[1] - ends[0]) / (2 * step);
  }
  return out;
}

TEST(MaskedDiffusion, LogProbabilitiesHaveTheGradientOfFiniteDifferences) {
  auto policy = table_policy("{steps: 2}");
  Experience batch = roll_out(*policy, 6);
  Tensor table = policy->parameters()[0].value;
  auto value = [&] {
    auto now = policy->evaluate(batch, {});
    return now.logp.square().sum().add(now.entropy.sum());
  };
  value().backward();  // the numbers are known, the gradient is computed in the backward pass
  Metrics metrics;
  policy->report(metrics);
  EXPECT_LE(metrics.mean("logp_mismatch"), 1e-12) << "measured while the backward pass computed them again";
  policy->stepped(1);
  Tensor expected = numerical(*policy, [&] { return value().item<double>(); });
  EXPECT_LE(distance(table.grad(), expected), 1e-7);
}

TEST(MaskedDiffusion, ADemonstrationsEstimateIsUnbiasedForAModelThatIsConsistent) {
  constexpr int64_t kDraws = 20000;
  auto policy = table_policy();
  at::NoGradGuard no_grad;
  for (int64_t sequence : {0, 5}) {
    Experience batch = all_sequences({0, 1, 2}).select(at::full({kDraws}, sequence, at::kLong));
    batch.context.erase("unmask_step");
    batch.extra.set(extra::draw, draws(kDraws));
    Tensor estimate = policy->evaluate(batch, {}).logp.sum(1);
    double mean = estimate.mean().item<double>(), sigma = estimate.std().item<double>() / std::sqrt(kDraws);
    EXPECT_NEAR(mean, joint(*policy)[sequence].item<double>(), 4 * sigma);
    EXPECT_TRUE(policy->evaluate(batch, {}).logp.sum(1).equal(estimate)) << "the draws are the batch's";
  }
}

TEST(MaskedDiffusion, RolloutsCanBeJudgedByTheForwardProcess) {
  auto policy = table_policy("{judge: forward}");
  SampleRequest request;
  request.group_size = 3;
  Experience batch = policy->sample(masked(4), request);
  EXPECT_FALSE(batch.context.has("unmask_step"));
  Tensor draw = batch.extra.tensor(extra::draw);
  EXPECT_TRUE(draw[0].equal(draw[2]) && !draw[0].equal(draw[3])) << "a group shares what is masked";
  EXPECT_TRUE(policy->evaluate(batch, {}).logp.equal(batch.logp));
}

Needs path_needs(int64_t last = 0, bool kl = false) {
  Pathwise path;
  path.min_steps = path.max_steps = last, path.kl = kl;
  Needs needs;
  needs.data = Needs::Data::contexts;
  needs.pathwise = path;
  return needs;
}

/// A reward that is not linear in the tokens' distributions.
Tensor reward_of(const Experience& sample) {
  Tensor x = sample.extra.tensor(extra::one_hot).select(2, 1);
  return x.select(1, 0).mul(x.select(1, 2)).add(x.sum(1).square().mul(0.3));
}

Experience drawn(int64_t rows) {
  Experience out = masked(rows);
  out.extra.set(extra::draw, draws(rows));
  return out;
}

TEST(MaskedDiffusion, TheGumbelPathHasTheGradientOfFiniteDifferences) {
  for (const char* steps : {"1", "2", "3"}) {
    auto policy = table_policy(cat("{relaxation: soft, relaxation_temperature: 0.6, steps: ", steps, "}"));
    Experience batch = drawn(5);
    Tensor table = policy->parameters()[0].value;
    auto value = [&] {
      auto now = policy->evaluate_path(batch, path_needs(0, true), reward_of);
      return now.reward.sum().add(now.extra.tensor(extra::path_kl).sum(), 0.7);
    };
    {
      at::NoGradGuard no_grad;
      policy->evaluate_path(batch, path_needs(0, true), reward_of);  // the reference is what the table is now
      table.add_(at::arange(8).mul(0.1).sin());
    }
    value().backward();
    EXPECT_LE(distance(table.grad(), numerical(*policy, [&] { return value().item<double>(); })), 1e-7) << steps;
  }
}

TEST(MaskedDiffusion, ARelaxedRunMakesTheSamplersTokens) {
  for (const char* relaxation : {"soft_steps", "straight_through"}) {
    auto policy = table_policy(cat("{order: even, relaxation: ", relaxation, ", relaxation_temperature: 0.05}"));
    Experience sampled = roll_out(*policy, 64, 9), batch = masked(64);
    Tensor draw = at::zeros({64, 2}, at::kLong);
    for (int64_t i = 0; i < 64; ++i) draw[i][1] = static_cast<int64_t>(mix(9, static_cast<uint64_t>(i)));
    batch.extra.set(extra::draw, draw);
    Tensor made;
    policy->evaluate_path(batch, path_needs(), [&](const Experience& sample) {
      made = sample.extra.tensor(extra::one_hot).detach();
      return reward_of(sample);
    });
    Tensor differ = made.argmax(2).ne(sampled.action).any(1).sum();
    EXPECT_LE(distance(made.sum(2), at::ones({64, 3}, at::kDouble)), 1e-12);
    // At a low temperature mixtures are nearly tokens, so nearly every run takes the sampler's way.
    EXPECT_LE(differ.item<int64_t>(), std::string(relaxation) == "straight_through" ? 0 : 6) << relaxation;
  }
}

TEST(MaskedDiffusion, TruncationKeepsTheGradientOfTheLastStepsAlone) {
  auto policy = table_policy("{order: even}");
  Experience batch = drawn(16);
  auto gradient = [&](int64_t last) {
    Tensor table = policy->parameters()[0].value;
    table.mutable_grad() = Tensor();
    policy->evaluate_path(batch, path_needs(last), reward_of).reward.sum().backward();
    return table.grad().clone();
  };
  Tensor all = gradient(0), three = gradient(3), one = gradient(1);
  EXPECT_TRUE(all.equal(three));
  EXPECT_GT(distance(all, one), 1e-6);
  EXPECT_GT(one.abs().max().item<double>(), 1e-6);
}

TEST(MaskedDiffusion, ThePathsDivergenceIsThatOfTheSequences) {
  constexpr int64_t kRuns = 20000;
  auto policy = table_policy("{order: even, relaxation: straight_through}");
  at::NoGradGuard no_grad;
  Tensor base = joint(*policy);
  auto divergence = [&] {
    return policy->evaluate_path(drawn(kRuns), path_needs(0, true), reward_of).extra.tensor(extra::path_kl);
  };
  EXPECT_LE(divergence().abs().max().item<double>(), 1e-12) << "the policy is still the reference";
  policy->parameters()[0].value.add_(at::arange(8).mul(0.9).sin());
  Tensor now = joint(*policy), found = divergence();
  double expected = now.exp().mul(now.sub(base)).sum().item<double>();
  EXPECT_NEAR(found.mean().item<double>(), expected, 4 * found.std().item<double>() / std::sqrt(kRuns));
  EXPECT_GT(expected, 0.1);
}

TEST(MaskedDiffusion, TheTemperatureMovesWithTheSteps) {
  auto policy = table_policy(
      "{order: even, relaxation: soft, relaxation_temperature: 2, final_relaxation_temperature: 0.1, "
      "relaxation_steps: 4}");
  auto sharpness = [&] {
    double out = 0;
    policy->evaluate_path(drawn(64), path_needs(), [&](const Experience& sample) {
      out = std::get<0>(sample.extra.tensor(extra::one_hot).max(2)).mean().item<double>();
      return reward_of(sample);
    });
    return out;
  };
  double first = sharpness();
  for (int64_t step = 1; step <= 4; ++step) policy->stepped(step);
  EXPECT_GT(sharpness(), first + 0.1);
}

TEST(MaskedDiffusion, RowsAreReadAndBadOnesNamed) {
  auto policy = table_policy();
  Experience given = policy->contexts(Rows::parse({R"({"input_ids": [1]})", R"({"input_ids": [2, 0], "note": "x"})"}));
  EXPECT_TRUE(given.context.tensor("tokens").equal(at::tensor({1, 2, 2, 2, 0, 2}).view({2, 3})));
  Experience shown = policy->demonstrations(Rows::parse({R"({"input_ids": [1, 0, 1], "prompt_length": 1})"}));
  EXPECT_TRUE(shown.mask.equal(at::tensor({0, 1, 1}).to(at::kBool).unsqueeze(0)));
  auto refused = [&](const std::string& row) {
    return testing::message_of([&] { policy->demonstrations(Rows::parse({row}, "rows")); });
  };
  EXPECT_NE(refused(R"({"input_ids": [1, 0]})").find("rollout.length"), std::string::npos);
  EXPECT_NE(refused(R"({"input_ids": [1, 0, 2]})").find("masked"), std::string::npos);
  EXPECT_NE(refused(R"({"input_ids": [1, 0, 3]})").find("0 .. 2"), std::string::npos);
  EXPECT_NE(refused(R"({"completion": "AB"})").find("vocab.txt"), std::string::npos);
  auto full = [&] { policy->contexts(Rows::parse({R"({"input_ids": [1, 0, 1]})"}, "rows")); };
  EXPECT_NE(testing::message_of(full).find("leaves no token"), std::string::npos);
  EXPECT_NE(testing::message_of([] { table_policy("{length: 4}"); }).find("at most 3"), std::string::npos);
  Needs needs = path_needs();
  needs.pathwise->path = Pathwise::Path::denoised;
  EXPECT_NE(testing::message_of([&] { policy->evaluate_path(drawn(2), needs, reward_of); }).find("chain"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::masked_diffusion_test
