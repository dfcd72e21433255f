/// GVM-RAFT beside RAFT where contexts are of very unequal difficulty: samples until as many are answered rightly.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/select/selector.h"
#include "rft/train/updater.h"
#include "support.h"
#include "table_policy.h"

namespace rft::gvm_test {
namespace {

using testing::TablePolicy;

constexpr int64_t kContexts = 100, kHard = 5, kAsked = 50;
/// Probability of the right answer in the beginning, of a hard context and of the others.
constexpr double kHardRate = 0.03, kEasyRate = 0.995;

class Learner {
 public:
  Learner(const std::string& select, uint64_t seed)
      : policy_(kContexts, 8, 1, seed), draws_(at::detail::createCPUGenerator(seed)) {
    register_builtins();
    selector_ = registry<Selector>().make(Config::parse(select));
    objective_ = registry<Objective>().make(Config::parse("{type: raft}"));
    right_ = at::randint(8, {kContexts}, draws_);
    at::NoGradGuard no_grad;
    Tensor rate = at::full({kContexts, 1}, kEasyRate);
    rate.slice(0, 0, kHard).fill_(kHardRate);
    Tensor chosen = at::one_hot(right_, 8).to(at::kBool);
    policy_.parameters()[0].value.copy_(at::where(chosen, rate, rate.neg().add(1).div(7)).log());
    OptimizerOptions options;
    options.lr = kRate;
    optimizer_ = std::make_unique<Optimizer>(policy_.parameters(), options);
  }

  /// Samples taken until every context's likeliest answer is right.
  int64_t samples(int64_t a_step) {
    int64_t taken = 0;
    while (accuracy() < 1 && taken < 400000) taken += take(a_step);
    return taken;
  }

 private:
  static constexpr double kRate = 0.05;

  double accuracy() const { return policy_.probabilities().argmax(1).eq(right_).to(at::kDouble).mean().item<double>(); }
  /// One optimizer step; how many samples it took.
  int64_t take(int64_t answers) {
    Tensor asked = at::randperm(kContexts, draws_).slice(0, 0, kAsked);
    std::vector<int64_t> rows(asked.data_ptr<int64_t>(), asked.data_ptr<int64_t>() + kAsked);
    std::vector<int64_t> counts = selector_->allocate(rows, answers);
    if (counts.empty()) counts.assign(rows.size(), answers / kAsked);
    Tensor context = asked.repeat_interleave(at::tensor(counts, at::kLong));
    Tensor answer = at::multinomial(policy_.probabilities().index_select(0, context), 1, true, draws_).squeeze(1);
    Experience batch = policy_.rows(context, answer);
    batch.logp = policy_.evaluate(batch, {}).logp.detach();
    batch.reward = answer.eq(right_.index_select(0, context)).to(at::kFloat);
    batch.extra.set(extra::row, context);
    Metrics metrics;
    Experience kept = batch.select(selector_->select(batch, metrics));
    if (kept.rows() > 0)
      update(policy_, *objective_, *optimizer_, kept, objective_->needs(), UpdateOptions{.lr = kRate}, metrics);
    return context.numel();
  }

  TablePolicy policy_;
  at::Generator draws_;
  std::unique_ptr<Selector> selector_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<Optimizer> optimizer_;
  Tensor right_;
};

int64_t median_samples(const std::string& select, int64_t a_step) {
  std::vector<int64_t> out;
  for (uint64_t seed : {1, 2, 3}) out.push_back(Learner(select, seed).samples(a_step));
  std::sort(out.begin(), out.end());
  return out[1];
}

// Of the budgets a step each is given the one with which it fares best.
TEST(GvmRaft, TakesHalfTheSamplesOfRaft) {
  int64_t raft = 1 << 30, gvm = 1 << 30;
  for (int64_t a_step : {50, 75, 100, 200}) {
    raft = std::min(raft, median_samples("{type: best_of_n, keep: 1, min_reward: 1}", a_step));
    gvm = std::min(gvm, median_samples("{type: gvm}", a_step));
  }
  RecordProperty("raft", std::to_string(raft)), RecordProperty("gvm", std::to_string(gvm));
  EXPECT_LT(raft, 400000);
  EXPECT_LE(2 * gvm, raft) << gvm << " samples beside " << raft;
}

}  // namespace
}  // namespace rft::gvm_test
