/// What a second batch says of an objective's own weights: by explicit gradients, by steps that are really taken, and
/// whether it serves to learn.
#include <torch/csrc/autograd/autograd.h>

#include "rft/objective/amft.h"
#include "rft/train/bi_level_update.h"
#include "support.h"
#include "table_policy.h"

namespace rft::bi_level_test {
namespace {

constexpr int64_t kContexts = 3, kTokens = 3, kLength = 2, kGroup = 16;

/// 1 for the answer that each context asks for, its own number of nine.
Tensor rewards(const testing::TablePolicy& policy, const Experience& batch) {
  return policy.answer_of(batch).eq(batch.group.mul(2).add(1)).to(at::kFloat);
}

/// A group of samples each context, with their advantages.
Experience sampled(testing::TablePolicy& policy) {
  Experience out = policy.sample_all(kGroup);
  Tensor reward = rewards(policy, out), mean = reward.view({kContexts, kGroup}).mean(1).repeat_interleave(kGroup);
  out.reward = reward;
  out.advantage = reward.sub(mean).unsqueeze(1).expand_as(out.mask).contiguous();
  out.extra = Fields();
  out.extra.set(extra::given, at::zeros({out.rows()}, at::kBool));
  return out;
}

/// The same with an answer each context that the dataset gave: the right one, or one that has no token of it.
Experience with_gold(testing::TablePolicy& policy, Experience batch, bool right) {
  Tensor context = at::arange(kContexts, at::kLong);
  Experience gold = policy.rows(context, right ? context.mul(2).add(1) : at::tensor({5, 7, 6}, at::kLong));
  gold.ref_logp = gold.logp = at::zeros({kContexts, kLength});
  gold.reward = at::zeros({kContexts}), gold.advantage = at::zeros({kContexts, kLength});
  gold.extra.set(extra::given, at::ones({kContexts}, at::kBool));
  return Experience::concat({batch, gold});
}

Tensor flat_gradient(testing::TablePolicy& policy, const Tensor& loss) {
  std::vector<Tensor> values, flat;
  for (const auto& p : policy.parameters())
    if (p.group != groups::critic) values.push_back(p.value);
  for (const Tensor& g : torch::autograd::grad({loss}, values)) flat.push_back(g.flatten());
  return at::cat(flat).to(at::kDouble);
}

TEST(OuterSlopes, AreTheGradientsInnerProduct) {
  testing::TablePolicy policy(kContexts, kTokens, kLength, 3);
  Experience second = sampled(policy), batch = with_gold(policy, sampled(policy), true);
  Amft objective(Amft::Options{});
  second.fill_totals(), batch.fill_totals();
  Needs needs = objective.needs();
  Tensor towards = flat_gradient(policy, objective.outer_loss(policy.evaluate(second, needs), second).total());
  Tensor own = flat_gradient(policy, objective.derivative(0, policy.evaluate(batch, needs), batch).total());
  double expected = towards.dot(own).item<double>();
  EXPECT_GT(std::abs(expected), 1e-5);
  Optimizer optimizer(policy.parameters(), {});
  for (int64_t size : {0, 1, 5}) {
    UpdateOptions options;
    options.micro_batch_size = size;
    std::string problem;
    auto got = outer_slopes(policy, objective, objective, optimizer, batch, second, needs, options, problem);
    ASSERT_EQ(got.size(), 1u) << problem;
    EXPECT_NEAR(got[0], expected, 1e-5 * std::abs(expected) + 1e-8) << size;
  }
  // A step of plain gradient descent from a larger balance changes the loss on the second batch by -lr d slope.
  auto after = [&](double imitation) {
    Amft::Options options;
    options.imitation = imitation;
    testing::TablePolicy moved(kContexts, kTokens, kLength, 3);
    Amft one(options);
    std::vector<Tensor> values;
    for (const auto& p : moved.parameters())
      if (p.group != groups::critic) values.push_back(p.value);
    auto grads = torch::autograd::grad({one.loss(moved.evaluate(batch, needs), batch).total()}, values);
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < values.size(); ++i) values[i].sub_(grads[i], 0.02);
    Experience judged = second;
    judged.old_logp = second.logp;
    return one.outer_loss(moved.evaluate(judged, needs), judged).total().item<double>();
  };
  double change = (after(0.9) - after(0.1)) / 0.8;
  EXPECT_NEAR(change, -0.02 * expected, 0.1 * 0.02 * std::abs(expected) + 2e-7);
}

/// Imitation serves where what is imitated is right, and is given up where it is wrong.
TEST(Amft, LearnsWhetherToImitate) {
  for (bool right : {true, false}) {
    testing::TablePolicy policy(kContexts, kTokens, kLength, 5);
    Amft::Options options;
    options.meta_rate = 20;
    Amft objective(options);
    OptimizerOptions how;
    how.lr = 0.05;
    Optimizer optimizer(policy.parameters(), how);
    Needs needs = objective.needs();
    for (int step = 0; step < 80; ++step) {
      Experience second = sampled(policy), batch = with_gold(policy, sampled(policy), right);
      std::string problem;
      UpdateOptions one;
      one.lr = 0.05;
      auto slopes = outer_slopes(policy, objective, objective, optimizer, batch, second, needs, one, problem);
      ASSERT_FALSE(slopes.empty()) << problem;
      objective.learn_outer(slopes);
      Metrics metrics;
      ASSERT_TRUE(update(policy, objective, optimizer, batch, needs, one, metrics).finite);
    }
    double share = policy.probabilities()
                       .gather(1, at::arange(kContexts, at::kLong).mul(2).add(1).unsqueeze(1))
                       .mean()
                       .item<double>();
    if (right) {
      EXPECT_GT(objective.imitation(), 0.6);
    } else {
      EXPECT_LT(objective.imitation(), 0.2);
    }
    EXPECT_GT(share, right ? 0.85 : 0.5);
  }
}

}  // namespace
}  // namespace rft::bi_level_test
