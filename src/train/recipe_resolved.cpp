// The recipe with every default written out.
#include "rft/core/registry.h"
#include "train/recipe_blocks.h"

namespace rft {
namespace {

Config resolved_reward(const Config& reward) {
  if (!reward.is_list()) return registry<RewardModel>().resolve(reward, {"weight", "name"});
  Config out = Config::list();
  for (const auto& [key, item] : reward.items()) out.append(registry<RewardModel>().resolve(item, {"weight", "name"}));
  return out;
}

Config resolved_environment(const Config& block) {
  Config out = registry<Environment>().resolve(block, {kWrappers});
  const Config* wrappers = block.find(kWrappers);
  if (!wrappers) return out;
  Config list = Config::list();
  for (const auto& [key, item] : wrappers->items()) list.append(registry<EnvironmentWrapper>().resolve(item));
  out.set(kWrappers, list);
  return out;
}

template <class T>
Config written(const T& options) {
  Config out = Config::map();
  OptionWriter writer(out);
  const_cast<T&>(options).visit(writer);
  return out;
}

Config resolved_rollout(const StageConfig& stage) {
  Config out = written(stage.rollout);
  if (!stage.environment.is_null()) {
    OptionWriter writer(out);
    const_cast<WorldsOptions&>(stage.worlds).visit(writer);
    if (stage.replay) visit_replay(const_cast<ReplayOptions&>(*stage.replay), writer);
  }
  const auto& policy = registry<Policy>().entry_of(stage.policy);
  if (!policy.visit_rollout) return out;
  for (const auto& info : describe_options(policy.visit_rollout)) {
    const Config* given = stage.rollout_block.find(info.name);
    if (given)
      out.set(info.name, *given);
    else if (info.type == "list of text" || info.type == "list of float")
      out.set(info.name, Config::list());
    else
      out.set(info.name, info.default_value == "null" ? Config() : Config::scalar(info.default_value));
  }
  return out;
}

Config resolved_stage(const StageConfig& stage) {
  Config out = Config::map();
  out.set("policy", registry<Policy>().resolve(stage.policy));
  if (!stage.environment.is_null()) out.set("environment", resolved_environment(stage.environment));
  out.set("data", written(stage.data));
  out.set("rollout", resolved_rollout(stage));
  if (!stage.reward.is_null()) out.set("reward", resolved_reward(stage.reward));
  if (!stage.credit.is_null()) out.set("credit", registry<Credit>().resolve(stage.credit));
  out.set("select", registry<Selector>().resolve(stage.select));
  out.set("objective", registry<Objective>().resolve(stage.objective));
  out.set("train", written(stage.train));
  return out;
}

}  // namespace

Config Recipe::resolved() const {
  Config out = Config::map();
  RunOptions shown = run;
  shown.output = directory();
  out.set("run", written(shown));
  if (stages.size() == 1) {
    const Config only = resolved_stage(stages.front());
    for (const auto& [key, value] : only.items()) out.set(key, value);
    return out;
  }
  Config list = Config::list();
  for (const auto& stage : stages) list.append(resolved_stage(stage));
  out.set("stages", list);
  return out;
}

}  // namespace rft
