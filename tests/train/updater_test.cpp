// One optimizer step: the gradient is the whole batch's for any micro-batch size, and a poisoned step changes nothing.
#include "rft/train/updater.h"

#include <ATen/ATen.h>

#include <limits>

#include "rft/objective/draft.h"
#include "rft/objective/grpo.h"
#include "rft/objective/sft.h"
#include "support.h"

namespace rft::updater_test {
namespace {

/// logits [V] of a table, one row for each context: as small as a policy can be.
class TablePolicy : public Policy {
 public:
  Tensor table = at::linspace(-1, 1, 5 * 4).view({5, 4}).to(at::kDouble).requires_grad_();
  double poison = 0;

  Experience contexts(const Rows&) const override { return {}; }
  Experience demonstrations(const Rows&) override { return {}; }
  void visit_rollout(OptionVisitor&) override {}
  Experience sample(const Experience&, const SampleRequest&) override { return {}; }
  Evaluation evaluate(const Experience& batch, const Needs& needs) override {
    auto p = table.index_select(0, batch.context.tensor("state")).log_softmax(1);
    Evaluation now;
    now.logp = p.gather(1, batch.action).add(poison);
    if (needs.entropy) now.entropy = p.exp().mul(p).sum(1, true).neg().expand_as(now.logp);
    return now;
  }
  Tensor ref_logp(const Experience&, const Needs&) override { return {}; }
  std::vector<Parameter> parameters() override { return {{"table", table, true}}; }
  void save(const std::string&) const override {}
  void load(const std::string&) override {}
};

Experience batch_of(int64_t rows) {
  Experience batch;
  batch.context.set("state", at::arange(rows, at::kLong).remainder(5));
  batch.action = at::arange(rows * 3, at::kLong).mul(7).remainder(4).view({rows, 3});
  auto lengths = at::arange(rows, at::kLong).remainder(3).add(1).unsqueeze(1);
  batch.mask = at::arange(3, at::kLong).unsqueeze(0).lt(lengths);
  batch.advantage = at::linspace(-1, 1.3, rows, at::kDouble).unsqueeze(1).expand({rows, 3}).contiguous();
  return batch;
}

/// The gradient, read from Adam's first moment after one step.
Tensor gradient(Objective& objective, int64_t micro_batch_size, Metrics& metrics) {
  TablePolicy policy;
  Optimizer optimizer(policy.parameters(), {});
  Experience batch = batch_of(13);
  UpdateOptions options;
  options.micro_batch_size = micro_batch_size;
  options.lr = 0.1;
  Needs needs = objective.needs();
  needs.entropy = true;
  EXPECT_TRUE(update(policy, objective, optimizer, batch, needs, options, metrics).finite);
  return optimizer.state().at("mean").clone();
}

TEST(Update, TheGradientIsTheSameForAnyMicroBatchSize) {
  for (const char* variant : {"grpo", "dapo", "dr_grpo", "luspo", "cispo", "sapo"}) {
    Grpo::Options options;
    options.variant = variant, options.max_completion_length = 8, options.entropy_weight = 0.01,
    options.entropy_quantile = 0.6;
    if (options.variant == std::string("cispo")) options.clip_high = 5.0;
    Metrics whole_metrics;
    Grpo objective(options);
    Tensor whole = gradient(objective, 0, whole_metrics);
    EXPECT_GT(whole.abs().max().item<double>(), 1e-6);
    for (int64_t size : {1, 2, 5, 12}) {
      Metrics metrics;
      Grpo again(options);
      EXPECT_TRUE(at::allclose(gradient(again, size, metrics), whole, 1e-10, 1e-14)) << variant << " " << size;
      for (const auto& [name, value] : whole_metrics.means())
        EXPECT_NEAR(metrics.mean(name), value, 1e-9) << variant << " " << name;
    }
  }
  Sft sft{Sft::Options{}};
  Metrics metrics;
  Tensor whole = gradient(sft, 0, metrics);
  for (int64_t size : {1, 4, 7}) EXPECT_TRUE(at::allclose(gradient(sft, size, metrics), whole, 1e-10, 1e-14));
}

TEST(Update, APoisonedStepChangesNothingAndIsNamed) {
  for (double poison : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    TablePolicy policy;
    policy.poison = poison;
    Optimizer optimizer(policy.parameters(), {});
    Tensor before = policy.table.detach().clone();
    Sft objective{Sft::Options{}};
    Experience batch = batch_of(6);
    UpdateOptions options;
    options.lr = 0.1, options.micro_batch_size = 4;
    Metrics metrics;
    auto result = update(policy, objective, optimizer, batch, objective.needs(), options, metrics);
    EXPECT_FALSE(result.finite);
    EXPECT_NE(result.problem.find("'loss'"), std::string::npos) << result.problem;
    EXPECT_NE(result.problem.find("rows 0 to 3"), std::string::npos) << result.problem;
    EXPECT_TRUE(at::equal(policy.table, before));
    EXPECT_EQ(optimizer.state().at("steps.policy").item<int64_t>(), 0);
    policy.poison = 0;
    EXPECT_TRUE(update(policy, objective, optimizer, batch, objective.needs(), options, metrics).finite)
        << "the next step is clean";
  }
}

/// Its reward is finite, the gradient of it is not: a square root at 0.
class SteepPolicy : public TablePolicy {
 public:
  Evaluation evaluate_path(const Experience& batch, const Needs&, const RewardOfSample&) override {
    Tensor own = table.index_select(0, batch.context.tensor("state")).sum(1);
    Evaluation now;
    now.reward = own.sub(own.detach()).sqrt();
    return now;
  }
};

TEST(Update, ARewardsGradientThatIsNotFiniteIsNamedAndChangesNothing) {
  SteepPolicy policy;
  Optimizer optimizer(policy.parameters(), {});
  Tensor before = policy.table.detach().clone();
  Draft objective{Draft::Options{}};
  Experience batch = batch_of(6);
  UpdateOptions options;
  options.lr = 0.1;
  Metrics metrics;
  auto result = update(policy, objective, optimizer, batch, objective.needs(), options, metrics);
  EXPECT_FALSE(result.finite);
  EXPECT_NE(result.problem.find("the gradient's norm is"), std::string::npos) << result.problem;
  EXPECT_NE(result.problem.find("rows 0 to 5"), std::string::npos) << result.problem;
  EXPECT_TRUE(at::equal(policy.table, before));
}

TEST(Update, ClipsToTheGivenNorm) {
  TablePolicy policy;
  Optimizer optimizer(policy.parameters(), {});
  Sft objective{Sft::Options{}};
  Experience batch = batch_of(6);
  UpdateOptions options;
  options.lr = 0.1, options.max_grad_norm = 1e-3;
  Metrics metrics;
  update(policy, objective, optimizer, batch, objective.needs(), options, metrics);
  EXPECT_GT(metrics.mean("grad_norm"), 1e-2) << "the norm before clipping is reported";
  EXPECT_NEAR(optimizer.state().at("mean").norm().item<double>(), 1e-3 * 0.1, 1e-6);
}

}  // namespace
}  // namespace rft::updater_test
