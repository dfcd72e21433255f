// A linear denoiser and a quadratic reward: each way of learning from a reward brings the samples to the optimum.
#include <ATen/ATen.h>

#include "../policy/linear_denoiser.h"
#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/credit/credit.h"
#include "rft/rollout/collector.h"
#include "rft/train/updater.h"
#include "support.h"

namespace rft {
namespace {

/// -(mean brightness - 0.8)^2, differentiable; the optimum is 0.
class Brightness : public RewardModel {
 public:
  Rewards score(const Experience& batch) override {
    Rewards out;
    out.value = batch.extra.tensor(extra::image).flatten(1).mean(1).sub(0.8).square().neg();
    out.components.push_back({"brightness", out.value, 1});
    return out;
  }
};

Config parsed(const std::string& text) { return Config::parse(text, "test"); }

double mean_reward(Diffusion& policy, RewardModel& reward, uint64_t seed) {
  Experience contexts;
  contexts.context.set_text(extra::prompt, std::vector<std::string>(64));
  SampleRequest request;
  request.seed = seed;
  return reward.score(policy.sample(contexts, request)).value.mean().item<double>();
}

struct Way {
  const char* name;
  const char* objective;
  const char* credit;    ///< "" for none
  const char* selector;  ///< "" for all rows
  int steps;
  double lr;
};

class Learning : public ::testing::TestWithParam<Way> {};

TEST_P(Learning, ReachesTheOptimum) {
  const Way& way = GetParam();
  auto policy = testing::linear_policy("{steps: 5, eta: 1.0}", at::kFloat);
  for (auto& p : policy->parameters()) p.value.requires_grad_(p.name == "shift");
  std::vector<Parameter> trained{policy->parameters()[1]};
  Brightness reward;
  auto objective = registry<Objective>().make(parsed(way.objective));
  auto credit = *way.credit ? registry<Credit>().make(parsed(way.credit)) : nullptr;
  auto selector = registry<Selector>().make(parsed(*way.selector ? way.selector : "{type: all}"));
  Optimizer optimizer(trained, {});
  Needs needs = objective->needs();
  bool online_pairs = needs.data == Needs::Data::pairs;
  if (online_pairs) needs.data = Needs::Data::rollout;
  if (credit) needs = needs | credit->needs();
  RowCursor cursor(8, false, 0);
  Experience contexts;
  contexts.context.set_text(extra::prompt, std::vector<std::string>(8));
  double before = mean_reward(*policy, reward, 99);
  for (int step = 0; step < way.steps; ++step) {
    Metrics metrics;
    Experience batch;
    if (needs.data == Needs::Data::contexts) {
      batch.context.set_text(extra::prompt, std::vector<std::string>(64));
      batch.mask = at::ones({64, 1}, at::kBool);
      batch.extra.set(extra::draw, at::arange(128, at::kLong).add(step * 1000).mul(7919).view({64, 2}));
    } else {
      CollectOptions options;
      options.group_size = 8, options.batch_size = 64, options.needs = needs;
      batch = collect({*policy, &reward, credit.get(), *selector}, contexts, cursor, static_cast<uint64_t>(step),
                      options, metrics);
    }
    UpdateOptions options;
    options.lr = way.lr, options.reward = &reward, options.pairs = online_pairs;
    ASSERT_TRUE(update(*policy, *objective, optimizer, batch, needs, options, metrics).finite);
    policy->stepped(step + 1);
  }
  double after = mean_reward(*policy, reward, 99);
  EXPECT_LT(before, -0.05) << "the start must be away from the optimum";
  EXPECT_GT(after, 0.2 * before) << "what is left is the samples' own spread";
}

INSTANTIATE_TEST_SUITE_P(
    All, Learning,
    ::testing::Values(Way{"draft", "{type: draft, last_steps: 0}", "", "", 60, 0.02},
                      Way{"draft_last_step", "{type: draft, last_steps: 1}", "", "", 60, 0.05},
                      Way{"draft_low_variance", "{type: draft, last_steps: 1, noise_repeats: 2}", "", "", 60, 0.05},
                      Way{"refl", "{type: refl, min_level: 0.5, hinge: 1}", "", "", 80, 0.05},
                      Way{"ddpo", "{type: ppo, clip_low: 1.0e-4, clip_high: 1.0e-4, value_weight: 0}",
                          "{type: group_normalized}", "", 80, 0.02},
                      Way{"grpo", "{type: grpo}", "{type: group_normalized}", "", 80, 0.02},
                      Way{"rloo", "{type: rloo}", "{type: leave_one_out, kl_weight: 0}", "", 80, 0.02},
                      Way{"reinforce", "{type: reinforce}", "{type: group_normalized}", "", 80, 0.02},
                      Way{"raft", "{type: raft}", "", "{type: best_of_n}", 80, 0.02},
                      Way{"d3po", "{type: dpo, beta: 1.0}", "", "{type: best_worst}", 80, 0.02}),
    [](const auto& info) { return std::string(info.param.name); });

class Environment : public ::testing::Environment {
  void SetUp() override { register_builtins(); }
};
const auto* const registered = ::testing::AddGlobalTestEnvironment(new Environment);

}  // namespace
}  // namespace rft
