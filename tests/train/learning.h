#pragma once
/// A policy small enough to be solved by hand learns from a reward, by whatever objective.
#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/credit/credit.h"
#include "rft/rollout/collector.h"
#include "rft/train/updater.h"
#include "support.h"

namespace rft::testing {

/// How it learns; blocks as in a recipe.
struct Way {
  const char* name;
  const char* objective;
  const char* credit;    ///< "" for none
  const char* selector;  ///< "" for all rows
  int steps;
  double lr;
  const char* rollout = "";  ///< options beside the test's own
  double left = 0.2;         ///< what may be left of the distance to the optimum
};

/// Contexts of this many rows.
using Contexts = std::function<Experience(int64_t)>;

inline Config parsed(const std::string& text) { return Config::parse(text, "test"); }

inline double mean_reward(Policy& policy, RewardModel& reward, const Contexts& contexts, int64_t rows = 64) {
  SampleRequest request;
  request.seed = 99;
  return reward.score(policy.sample(contexts(rows), request)).value.mean().item<double>();
}

/// Learns with batches of 64 samples, eight to a context.
inline void learn(Policy& policy, RewardModel& reward, const std::vector<Parameter>& trained, const Contexts& contexts,
                  const Way& way) {
  auto objective = registry<Objective>().make(parsed(way.objective));
  auto credit = *way.credit ? registry<Credit>().make(parsed(way.credit)) : nullptr;
  auto selector = registry<Selector>().make(parsed(*way.selector ? way.selector : "{type: all}"));
  Optimizer optimizer(trained, {});
  Needs needs = objective->needs();
  bool online_pairs = needs.data == Needs::Data::pairs;
  if (online_pairs) needs.data = Needs::Data::rollout;
  if (credit) needs = needs | credit->needs();
  RowCursor cursor(8, false, 0);
  Experience eight = contexts(8);
  for (int step = 0; step < way.steps; ++step) {
    Metrics metrics;
    Experience batch;
    if (needs.data == Needs::Data::contexts) {
      batch = contexts(64);
      batch.mask = at::ones({64, 1}, at::kBool);
      batch.extra.set(extra::draw, at::arange(128, at::kLong).add(step * 1000).mul(7919).view({64, 2}));
    } else {
      CollectOptions options;
      options.group_size = 8, options.batch_size = 64, options.needs = needs;
      batch = collect({policy, &reward, credit.get(), *selector}, eight, cursor, static_cast<uint64_t>(step), options,
                      metrics);
    }
    UpdateOptions options;
    options.lr = way.lr, options.reward = &reward, options.blocks = online_pairs ? 2 : 1;
    ASSERT_TRUE(update(policy, *objective, optimizer, batch, needs, options, metrics).finite);
    policy.stepped(step + 1);
  }
}

inline std::string name_of(const ::testing::TestParamInfo<Way>& info) { return info.param.name; }

/// The registries that blocks are made from.
class BuiltIns : public ::testing::Environment {
  void SetUp() override { register_builtins(); }
};

}  // namespace rft::testing
