/// Where every objective goes: on a policy that can be enumerated, to the best answer, and where it is held to a
/// reference, to the distribution that theory says is best, p_ref(y) exp(r(y) / beta) / Z.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/credit/credit.h"
#include "rft/select/selector.h"
#include "rft/train/updater.h"
#include "support.h"
#include "table_policy.h"

namespace rft::optimum_test {
namespace {

using testing::TablePolicy;

constexpr int64_t kContexts = 3;

/// What is trained, and how.
struct Method {
  std::string name, objective, credit = "";
  int64_t length = 2, group = 64, steps = 400, iterations = 1;
  double lr = 0.05;
  bool given = false;       ///< one of each group is the best answer, given
  std::string select = "";  ///< of a rollout
};

std::ostream& operator<<(std::ostream& out, const Method& method) { return out << method.name; }

class Trained {
 public:
  Trained(const Method& method, bool best_alone)
      : method_(method), best_alone_(best_alone), policy_(kContexts, method.length == 1 ? 8 : 3, method.length, 11) {
    register_builtins();
    objective_ = registry<Objective>().make(Config::parse(method.objective));
    if (!method.select.empty()) selector_ = registry<Selector>().make(Config::parse(method.select));
    if (!method.credit.empty()) credit_ = registry<Credit>().make(Config::parse(method.credit));
    at::Generator g = at::detail::createCPUGenerator(23);
    reward_ = at::rand({kContexts, policy_.answers()}, g);
    needs_ = objective_->needs();
    if (credit_) needs_ = needs_ | credit_->needs();
    OptimizerOptions options;
    options.lr = method.lr, options.beta1 = 0.8, options.beta2 = 0.95;
    optimizer_ = std::make_unique<Optimizer>(policy_.parameters(), options);
    for (int64_t step = 0; step < method.steps; ++step) take(step);
  }

  /// [C]: the expected reward's share of what lies between the reference's and the best.
  double gain() const {
    Tensor now = policy_.probabilities().mul(reward_).sum(1),
           before = policy_.reference_probabilities().mul(reward_).sum(1);
    return now.sub(before).div(reward_.amax(1).sub(before)).mean().item<double>();
  }
  /// The total variation, over the contexts at most, to p_ref exp(r / beta) / Z.
  double distance(double beta) const {
    Tensor best = policy_.reference_probabilities().mul(reward_.div(beta).exp());
    return best.div(best.sum(1, true)).sub(policy_.probabilities()).abs().sum(1).div(2).max().item<double>();
  }
  double distance_to(const Tensor& target) const {
    return target.sub(policy_.probabilities()).abs().sum(1).div(2).max().item<double>();
  }
  const TablePolicy& policy() const { return policy_; }
  const Tensor& reward() const { return reward_; }

 private:
  Tensor reward_of(const Experience& batch) const {
    return reward_.flatten().index_select(0, batch.group.mul(policy_.answers()).add(policy_.answer_of(batch)));
  }
  /// Rows sampled and rewarded, and ready for the objective.
  Experience rollout() {
    Experience batch = policy_.sample_all(method_.group);
    if (method_.given) give_best(batch);
    batch.reward = reward_of(batch);
    if (needs_.greedy) {
      Tensor best = policy_.probabilities().argmax(1);
      Tensor greedy = reward_.gather(1, best.unsqueeze(1)).squeeze(1);
      batch.extra.set(extra::greedy_reward, greedy.index_select(0, batch.group));
    }
    Metrics ignored;
    if (credit_) credit_->assign(batch, ignored);
    return selector_ ? batch.select(selector_->select(batch, ignored)) : batch;
  }
  void give_best(Experience& batch) {
    Tensor context = at::arange(kContexts, at::kLong), first = context.mul(method_.group);
    batch.action.index_copy_(0, first, policy_.rows(context, reward_.argmax(1)).action);
    batch.logp = policy_.evaluate(batch, {}).logp.detach();
    batch.extra.set(extra::given, at::zeros({batch.rows()}, at::kBool).index_fill_(0, first, true));
  }
  /// The best answer of each context.
  Experience demonstrations() {
    Tensor context = at::arange(kContexts, at::kLong).repeat_interleave(method_.group);
    return policy_.rows(context, reward_.argmax(1).index_select(0, context));
  }
  /// All pairs of answers, the better one first; or those of the best answer alone.
  Experience pairs() {
    int64_t n = policy_.answers();
    Tensor number = at::arange(n, at::kLong), context = at::arange(kContexts, at::kLong).repeat_interleave(n * n);
    Tensor a = number.repeat_interleave(n).repeat({kContexts}), b = number.repeat({n * kContexts});
    auto reward = [&](const Tensor& answer) { return reward_.flatten().index_select(0, context.mul(n).add(answer)); };
    Tensor better = reward(a).gt(reward(b));
    if (best_alone_) better = better.logical_and(a.eq(reward_.argmax(1).index_select(0, context)));
    Tensor kept = better.nonzero().squeeze(1);
    context = context.index_select(0, kept), a = a.index_select(0, kept), b = b.index_select(0, kept);
    Experience out = policy_.rows(at::cat({context, context}), at::cat({a, b}));
    out.reward = reward_of(out);
    return out;
  }
  /// Every answer, the best one good.
  Experience unpaired() {
    Experience out = policy_.all_rows();
    out.extra.set(extra::label, policy_.answer_of(out).eq(reward_.argmax(1).index_select(0, out.group)).to(at::kFloat));
    return out;
  }
  Experience batch() {
    switch (needs_.data) {
      case Needs::Data::demonstrations:
        return demonstrations();
      case Needs::Data::pairs:
        return pairs();
      case Needs::Data::unpaired:
        return unpaired();
      default:
        return rollout();
    }
  }
  void take(int64_t step) {
    Experience rows = batch();
    if (needs_.best_rows) {
      Tensor best = rows.reward.view({kContexts, -1}).argmax(1).add(at::arange(kContexts).mul(method_.group));
      rows = rows.select(best);
    }
    if (needs_.ref_logp) rows.ref_logp = policy_.ref_logp(rows, needs_).detach();
    if (method_.iterations > 1) rows.old_logp = rows.logp;
    for (int64_t i = 0; i < method_.iterations; ++i) {
      UpdateOptions options;
      options.blocks = needs_.blocks();
      options.micro_batch_size = options.blocks > 1 ? 50 : 0;
      double left = 1 - static_cast<double>(step) / static_cast<double>(method_.steps);
      options.lr = method_.lr * std::max(left, 0.02);
      Metrics metrics;
      UpdateResult result = update(policy_, *objective_, *optimizer_, rows, needs_, options, metrics);
      ASSERT_TRUE(result.finite) << result.problem;
    }
  }

  Method method_;
  bool best_alone_;
  TablePolicy policy_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<Credit> credit_;
  std::unique_ptr<Selector> selector_;
  std::unique_ptr<Optimizer> optimizer_;
  Needs needs_;
  Tensor reward_;
};

class Learns : public ::testing::TestWithParam<Method> {};

TEST_P(Learns, TheBestAnswer) {
  Trained trained(GetParam(), /*best_alone=*/true);
  EXPECT_GT(trained.gain(), 0.9);
}

const char* kGroup = "{type: group_normalized}";

const std::vector<Method> kMethods = {
    {"sft", "{type: sft}"},
    {"dft", "{type: dft}"},
    {"asft", "{type: asft, kl_weight: 0.01}"},
    {"raft", "{type: raft}"},
    {"rwr", "{type: rwr, temperature: 0.3}", kGroup},
    {"grpo", "{type: grpo, variant: grpo}", kGroup, 2, 32, 200, 2},
    {"dapo", "{type: grpo}", kGroup, 2, 32, 200, 2},
    {"gspo", "{type: grpo, ratio_level: sequence}", kGroup, 2, 32, 200, 2},
    {"dr_grpo", "{type: grpo, variant: dr_grpo, max_completion_length: 2}", kGroup, 2, 32, 200, 2},
    {"bnpo", "{type: grpo, variant: bnpo}", kGroup, 2, 32, 200, 2},
    {"cispo", "{type: grpo, variant: cispo, clip_high: 5}", kGroup, 2, 32, 200, 2},
    {"sapo", "{type: grpo, variant: sapo}", kGroup, 2, 32, 200, 2},
    {"luspo", "{type: grpo, variant: luspo}", kGroup, 2, 32, 200, 2},
    {"vespo", "{type: grpo, variant: vespo}", kGroup, 2, 32, 200, 2},
    {"gmpo", "{type: gmpo}", kGroup, 2, 32, 200, 2},
    {"rloo", "{type: rloo}", "{type: leave_one_out, kl_weight: 0}", 2, 32, 200, 2},
    {"reinforce", "{type: reinforce}", kGroup, 2, 32, 200},
    {"reinforce++", "{type: ppo, value_weight: 0}", "{type: reward_to_go}", 2, 32, 200, 2},
    {"reinforce++ baseline", "{type: ppo, value_weight: 0}", "{type: reward_to_go, baseline: group}", 2, 32, 200, 2},
    {"remax", "{type: reinforce}", "{type: greedy_baseline}", 2, 32, 300},
    {"opo", "{type: reinforce}", "{type: length_baseline}", 2, 32, 300},
    {"gpg", "{type: reinforce}", "{type: group_normalized, scale: none, rescale: true}", 2, 32, 300},
    {"win_rate", "{type: reinforce}", "{type: win_rate, temperature: 0.2}", 2, 32, 300},
    {"brpo", "{type: grpo}", "{type: win_rate, against: one, temperature: 0}", 2, 32, 200, 2},
    {"max@k", "{type: reinforce}", "{type: max_at_k, k: 2}", 2, 32, 300},
    {"ppo", "{type: ppo, value_weight: 1}", "{type: gae, kl_weight: 0}", 2, 32, 200, 2},
    {"v-trace", "{type: ppo, value_weight: 1}", "{type: gae, kl_weight: 0, correction: v_trace}", 2, 32, 200, 2},
    {"reg_grpo", "{type: reg_grpo}", kGroup, 2, 32, 200, 3},
    {"luffy", "{type: grpo, given_shaping: 0.1}", kGroup, 2, 32, 200, 1, 0.05, true},
    {"tempsamp-r1", "{type: grpo}", "{type: group_normalized, shape_threshold: 0.8}", 2, 32, 200, 1, 0.05, true},
    {"visurf", "{type: grpo}", "{type: group_normalized, given: smoothed}", 2, 32, 200, 1, 0.05, true},
    {"ahpo", "{type: grpo, given_nll_weight: 1}", "{type: group_normalized, given: apart}", 2, 32, 200, 1, 0.05, true,
     "{type: own_answers, given_below: 0.5}"},
    {"hpt", "{type: grpo, given_nll_weight: 1}", "{type: group_normalized, given: apart}", 2, 32, 200, 1, 0.05, true,
     "{type: own_answers, given_below: 0.5, instead: true}"},
    {"clip_cov", "{type: covariance, share: 0.02}", kGroup, 2, 32, 200, 2},
    {"kl_cov", "{type: covariance, variant: kl_cov, share: 0.02}", kGroup, 2, 32, 200, 2},
    {"dro", "{type: dro, beta: 0.02}", kGroup, 2, 32, 200, 2},
    {"a2po", "{type: a2po, beta: 0.02}", "{type: optimal_value, beta: 0.02, importance: true}", 2, 64, 400},
    {"dpo", "{type: dpo}"},
    {"dpo ipo", "{type: dpo, variant: ipo, beta: 0.01}"},
    {"dpo hinge", "{type: dpo, variant: hinge}"},
    {"dpo robust", "{type: dpo, variant: robust, label_smoothing: 0.1}"},
    {"dpo exo", "{type: dpo, variant: exo_pair, label_smoothing: 0.01}"},
    {"dpo sppo", "{type: dpo, variant: sppo_hard, beta: 0.02}"},
    {"dpo aot", "{type: dpo, variant: aot}"},
    {"dpo apo_zero", "{type: dpo, variant: apo_zero}"},
    {"dpo discopop", "{type: dpo, variant: discopop, discopop_tau: 1}"},
    {"cpo", "{type: cpo, nll_weight: 0}"},
    {"simpo", "{type: cpo, variant: simpo, nll_weight: 0, beta: 2}"},
    {"orpo", "{type: orpo, beta: 2}"},
    {"prdp", "{type: prdp, beta: 0.02}"},
    {"kto", "{type: kto, beta: 0.1}"},
    {"bco", "{type: kto, variant: bco, beta: 0.1}"},
    {"wpo", "{type: dpo, weighting: true}"},
    {"inverse_q", "{type: inverse_q, td_weight: 0.01}"},
};

INSTANTIATE_TEST_SUITE_P(EveryObjective, Learns, ::testing::ValuesIn(kMethods), [](const auto& info) {
  std::string name;
  for (char c : info.param.name) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name + std::to_string(info.index);
});

class Converges : public ::testing::TestWithParam<Method> {};

TEST_P(Converges, ToTheReferenceTimesTheExponentialReward) {
  Trained trained(GetParam(), /*best_alone=*/false);
  EXPECT_LT(trained.distance(0.25), 0.02);
}

const std::vector<Method> kRegularised = {
    {"reinforce, KL in the reward", "{type: reinforce}", "{type: leave_one_out, kl_weight: 0.25}", 2, 512, 500},
    {"rloo, KL in the reward", "{type: rloo}", "{type: leave_one_out, kl_weight: 0.25}", 2, 512, 500},
    {"grpo, KL in the loss", "{type: grpo, kl_weight: 0.25}", "{type: group_normalized, scale: none}", 1, 512, 500},
    {"a2po", "{type: a2po, beta: 0.25}", "{type: optimal_value, beta: 0.25, importance: true}", 2, 512, 500},
    {"dro", "{type: dro, beta: 0.25, anchor: reference, ratio_level: sequence}",
     "{type: group_normalized, scale: none}", 2, 512, 500},
    {"f-DPG, forward KL", "{type: reinforce}", "{type: posterior, beta: 0.25, divergence: forward_kl}", 2, 512, 500},
    {"f-DPG, reverse KL", "{type: reinforce}", "{type: posterior, beta: 0.25}", 2, 512, 500},
    {"f-DPG, Jensen-Shannon", "{type: reinforce}", "{type: posterior, beta: 0.25, divergence: jensen_shannon}", 2, 512,
     500},
    {"prdp", "{type: prdp, beta: 0.25}", "", 2, 1, 600},
    {"dpo, soft labels", "{type: dpo, variant: soft_label, beta: 0.25}", "", 2, 1, 600},
};

INSTANTIATE_TEST_SUITE_P(EveryRegularised, Converges, ::testing::ValuesIn(kRegularised), [](const auto& info) {
  std::string name;
  for (char c : info.param.name) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name + std::to_string(info.index);
});

TEST(Distillation, ReachesTheTeacher) {
  // The policy is moved away first: what is drawn back must come from the objective.
  for (std::string options :
       {"{type: distillation, on_policy: true, beta: 0}", "{type: distillation, on_policy: true, beta: 0.5}",
        "{type: distillation, on_policy: true, beta: 1}", "{type: sampled_distillation}"}) {
    Trained trained({options, options, "", 2, 64, 1}, false);
    auto& policy = const_cast<TablePolicy&>(trained.policy());
    at::NoGradGuard no_grad;
    for (auto& parameter : policy.parameters()) parameter.value.mul_(-0.5);
    EXPECT_GT(trained.distance_to(policy.reference_probabilities()), 0.2);
    at::AutoGradMode on(true);
    auto objective = registry<Objective>().make(Config::parse(options));
    int64_t group = objective->needs().divergence ? 32 : 256;  // single tokens say less than whole distributions
    OptimizerOptions adam;
    adam.lr = 0.05;
    Optimizer optimizer(policy.parameters(), adam);
    for (int step = 0; step < 300; ++step) {
      Experience batch = policy.sample_all(group);
      UpdateOptions update_options;
      update_options.lr = 0.05 * (1 - step / 300.0);
      Metrics metrics;
      update(policy, *objective, optimizer, batch, objective->needs(), update_options, metrics);
    }
    EXPECT_LT(trained.distance_to(policy.reference_probabilities()), 0.02) << options;
  }
}

/// Groups of one, equal rewards, rewards that failed, rows without decisions, and what the reference can't do at all:
/// every objective that learns from rollouts goes through them with finite numbers, and the weights stay finite.
TEST(Hostile, RowsLeaveTheWeightsFinite) {
  register_builtins();
  double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  for (const auto& method : kMethods) {
    SCOPED_TRACE(method.name);
    auto objective = registry<Objective>().make(Config::parse(method.objective));
    Needs needs = objective->needs();
    std::unique_ptr<Credit> credit;
    if (!method.credit.empty())
      credit = registry<Credit>().make(Config::parse(method.credit)), needs = needs | credit->needs();
    if (needs.data != Needs::Data::rollout) continue;
    for (int which = 0; which < 4; ++which) {
      TablePolicy policy(kContexts, 3, 2, 11);
      OptimizerOptions options;
      options.lr = 0.1;
      Optimizer optimizer(policy.parameters(), options);
      Experience batch = policy.sample_all(which == 0 ? 1 : 4);  // groups of one
      batch.reward = at::ones({batch.rows()}, at::kFloat);       // all equal
      if (which == 2) batch.reward.fill_(nan);
      if (which == 3) batch.reward[0].fill_(nan), batch.reward[1].fill_(0.0), batch.mask[2].fill_(false);
      batch.ref_logp[0].fill_(-infinity);
      batch.extra.set(extra::greedy_reward, at::ones({batch.rows()}));
      Metrics metrics;
      if (credit) credit->assign(batch, metrics);
      batch.old_logp = batch.logp;
      UpdateResult result = update(policy, *objective, optimizer, batch, needs, UpdateOptions{.lr = 0.1}, metrics);
      EXPECT_TRUE(result.finite) << which << ": " << result.problem;
      for (const auto& parameter : policy.parameters())
        EXPECT_TRUE(parameter.value.isfinite().all().item<bool>()) << which << " " << parameter.name;
    }
  }
}

/// One objective object, not a line of which knows what it trains.
TEST(Objectives, TheSameObjectTrainsTextsAndNumbers) {
  register_builtins();
  auto objective = registry<Objective>().make(Config::parse("{type: grpo}"));
  auto credit = registry<Credit>().make(Config::parse("{type: group_normalized}"));
  // Tokens: the second of three tokens is best.
  TablePolicy tokens(kContexts, 3, 1, 5);
  // Numbers: a Gaussian of one dimension whose mean should be 1.5.
  Tensor mean = at::zeros({1}).set_requires_grad(true);
  OptimizerOptions options;
  options.lr = 0.05;
  Optimizer first(tokens.parameters(), options);
  mean.mutable_grad() = at::zeros({1});
  at::Generator g = at::detail::createCPUGenerator(3);
  for (int step = 0; step < 200; ++step) {
    Metrics metrics;
    Experience batch = tokens.sample_all(16);
    batch.reward = batch.action.select(1, 0).eq(1).to(at::kFloat);
    credit->assign(batch, metrics);
    UpdateOptions update_options;
    update_options.lr = 0.05;
    update(tokens, *objective, first, batch, objective->needs(), update_options, metrics);

    Experience numbers;
    numbers.action = mean.detach().add(at::randn({32, 1}, g));
    numbers.mask = at::ones({32, 1}, at::kBool), numbers.group = at::arange(2).repeat_interleave(16);
    numbers.reward = numbers.action.select(1, 0).sub(1.5).square().neg();
    numbers.logp = at::zeros({32, 1});
    credit->assign(numbers, metrics);
    numbers.fill_totals();
    Evaluation now;
    now.logp = numbers.action.sub(mean).square().div(-2);
    numbers.logp = now.logp.detach();
    objective->loss(now, numbers).total().backward();
    at::NoGradGuard no_grad;
    mean.sub_(mean.mutable_grad(), 0.05), mean.mutable_grad().zero_();
  }
  EXPECT_GT(tokens.probabilities().select(1, 1).min().item<double>(), 0.9);
  EXPECT_NEAR(mean.item<double>(), 1.5, 0.3);
}

}  // namespace
}  // namespace rft::optimum_test
