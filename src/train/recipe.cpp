#include "rft/train/recipe.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "rft/core/registry.h"
#include "rft/objective/bi_level.h"
#include "train/recipe_blocks.h"

namespace rft {
namespace {

const std::vector<std::string> kStageKeys = {"policy", "environment", "data",      "rollout", "reward",
                                             "credit", "select",      "objective", "train"};

void reject_unknown_keys(const Config& node, const std::vector<std::string>& known) {
  if (!node.is_map()) bad_input(node.place(), "expected a map of blocks");
  for (const auto& [key, value] : node.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      bad_input(value.place(), "there is no block '", key, "'", suggestion(key, known));
}

/// The stage's own block, else the recipe's, else nothing.
Config block_of(const Config& stage, const Config& recipe, const std::string& key) {
  if (const Config* own = stage.find(key)) return *own;
  if (const Config* shared = recipe.find(key)) return *shared;
  return {};
}

void read_rollout(StageConfig& stage) {
  OptionReader reader(stage.rollout_block);
  stage.rollout.visit(reader);
  if (!stage.environment.is_null()) stage.worlds.visit(reader);
  if (stage.replay) visit_replay(*stage.replay, reader);
  const auto& policy = registry<Policy>().entry_of(stage.policy);
  if (policy.visit_rollout) policy.visit_rollout(reader);  // checked here; read again when the policy is made
  reader.finish();
}

/// Off-policy objectives learn from single decisions, that are collected or given.
void check_transitions(const StageConfig& stage, const Config& place, const Needs& needs) {
  bool acts = !stage.environment.is_null(), collects = stage.train.timesteps || stage.worlds.steps;
  const std::string& objective = stage.objective.find("type")->text();
  if (!acts)
    bad_input(place.place(), "the objective '", objective, "' is for control: an `environment` block is needed");
  if (!stage.train.steps && !stage.train.timesteps)
    bad_input(place.place(), "how long to train must be said: train.timesteps (decisions to collect), or train.steps");
  if (!stage.data.prompts.empty() && !stage.data.train.empty())
    bad_input(place.place(), "data.prompts and data.train mean the same: give one");
  if (!collects && stage.data.rows().empty())
    bad_input(place.place(),
              "there is nothing to learn from: train.timesteps collects decisions, data.train gives some");
  if (stage.worlds.chunk > 1 && stage.worlds.reward_gamma != needs.q->gamma)
    bad_input(stage.rollout_block.place(), "a chunk's rewards must be discounted as '", objective, "' discounts: got ",
              "reward_gamma ", stage.worlds.reward_gamma, " and objective.gamma ", needs.q->gamma);
  if (needs.q->returns && stage.worlds.steps)
    bad_input(stage.rollout_block.place(), "'", objective,
              "' learns from the returns of whole episodes: leave out rollout.steps, or set calibrated: false");
}

/// Rows of two levels go with an objective of two levels.
void check_levels(const Objective& objective, const StageConfig& stage, const Config& data) {
  auto* two = dynamic_cast<const BiLevel*>(&objective);
  const std::string& name = stage.objective.find("type")->text();
  if (two && stage.data.meta.empty())
    bad_input(data.place(), "the objective '", name, "' learns weights of its own from `data.meta`: rows are needed");
  if (two && two->outer_weights() == 0)
    bad_input(stage.objective.place(), "the objective '", name, "' has nothing to learn from `data.meta`: its domains ",
              "are not named (objective.domains)");
  if (!two && !stage.data.meta.empty())
    bad_input(data.find("meta")->place(), "the objective '", name, "' reads no second batch; remove `meta`");
}

void check_environment(const StageConfig& stage, const Config& place, const Needs& needs) {
  const auto& policy = registry<Policy>().entry_of(stage.policy);
  bool acts = !stage.environment.is_null(), rollout = needs.data == Needs::Data::rollout;
  if (policy.acts && !acts)
    bad_input(place.place(), "the policy '", policy.name, "' acts in an environment: an `environment` block is needed");
  if (!acts) {
    if (stage.train.timesteps) bad_input(place.place(), "train.timesteps is for environments: use train.steps");
    return;
  }
  if (!policy.acts) bad_input(stage.environment.place(), "the policy '", policy.name, "' does not act in environments");
  make_environment(stage);
  if (!rollout) return;
  if (!stage.train.steps && !(stage.train.timesteps && stage.worlds.steps))
    bad_input(place.place(), "how long to train must be said: train.steps, or train.timesteps with rollout.steps");
  if (stage.worlds.steps && stage.rollout_block.find("group_size") && stage.rollout.group_size != 1)
    bad_input(stage.rollout_block.place(),
              "rollout.group_size is for whole episodes, from one start each group; with "
              "rollout.steps it must be 1");
}

/// Rollouts that are sampled while the trainer learns; `reward` may be null.
void check_ahead(const StageConfig& stage, bool sampled, const RewardModel* reward) {
  if (stage.rollout.ahead == 0) return;
  const std::string place = stage.rollout_block.find("ahead")->place();
  if (!sampled)
    bad_input(place, "answers to prompts are sampled ahead: not what happens in environments, nor where an objective ",
              "learns from given data");
  if (stage.train.tensor_parallel > 1)
    bad_input(place, "a divided model (train.tensor_parallel) can't be sampled ahead; use train.shard");
  if (reward && !reward->per_row())
    bad_input(place, "the reward looks at a whole batch; only rewards that score each row by itself can be computed ",
              "ahead");
  // Of what the sampler's policy was, such ratios say nothing: the objective must, or the credit.
  auto says = [](const Config& block, const char* option) {
    const Config* given = block.is_null() ? nullptr : block.find(option);
    return given && given->text() != "none";
  };
  if (stage.rollout.recompute_logp && !says(stage.objective, "sampler_correction") && !says(stage.credit, "correction"))
    bad_input(place, "with recompute_logp ratios are taken against the trainer's policy, not the one that sampled: ",
              "give objective.sampler_correction (grpo) or gae's correction, or leave recompute_logp out");
}

/// Where all is in the host's memory there is nowhere to offload to.
void check_offload(const StageConfig& stage, const Config& train) {
  if (stage.train.offload == "none") return;
  const Config* device = stage.policy.find("device");
  if (!device || device->text() == "cpu")
    bad_input(train.find("offload")->place(),
              "the policy computes on the CPU (policy.device), so that the optimizer's ",
              "state is in the host's memory already; leave it out, or give policy.device: cuda");
}

StageConfig read_stage(const Config& node, const Config& recipe, bool only_stage) {
  StageConfig stage;
  auto get = [&](const char* key) { return block_of(node, recipe, key); };
  stage.policy = get("policy"), stage.reward = get("reward"), stage.credit = get("credit");
  stage.environment = get("environment");
  stage.select = get("select"), stage.objective = get("objective"), stage.rollout_block = get("rollout");
  const Config& place = only_stage ? recipe : node;
  for (const char* key : {"policy", "objective"})
    if (get(key).is_null()) bad_input(place.place(), "the block '", key, "' is missing");
  stage.data = read_options<DataOptions>(get("data"));
  if (!stage.data.weights.empty() && stage.data.weights.size() != stage.data.rows().size())
    bad_input(get("data").place(), "data.weights must have a number for each file, ", stage.data.rows().size(),
              "; got ", stage.data.weights.size());
  stage.train = read_options<TrainOptions>(get("train"));
  if (stage.train.micro_batch_size && stage.train.micro_batch_tokens)
    bad_input(get("train").place(), "train.micro_batch_size and train.micro_batch_tokens mean the same: give one");
  registry<Policy>().resolve(stage.policy);
  check_offload(stage, get("train"));
  auto objective = make_objective(stage);
  if (objective->needs().data == Needs::Data::transitions) stage.replay.emplace();
  read_rollout(stage);
  auto reward = make_reward(stage);
  make_credit(stage), make_selector(stage);
  Needs needs = objective->needs();
  check_environment(stage, place, needs);
  if (stage.replay) check_transitions(stage, place, needs);
  if (stage.worlds.steps || stage.replay) stage.rollout.group_size = 1;
  bool acts = !stage.environment.is_null();
  bool rewarded = needs.pathwise || (needs.data == Needs::Data::rollout && (needs.reward || needs.advantage));
  if (rewarded && !reward && !acts)
    bad_input(place.place(), "the objective '", stage.objective.find("type")->text(),
              "' learns from rewards: a `reward` block is needed");
  bool none = stage.data.prompts.empty() && stage.data.train.empty();
  if (acts && needs.data == Needs::Data::rollout && !none)
    bad_input(place.place(), "a policy that acts in an environment learns from what happens there: no rows are read");
  if ((!acts || needs.data != Needs::Data::rollout) && !stage.replay &&
      stage.data.prompts.empty() == stage.data.train.empty())
    bad_input(place.place(), "one of data.prompts and data.train is needed: the rows to train on");
  check_levels(*objective, stage, get("data"));
  if (needs.gold && pairs_online(stage, needs))
    bad_input(stage.objective.place(), "gold answers stand beside given pairs (data.train), not beside sampled ones");
  int64_t others = stage.rollout.reference_answers + (stage.rollout.given_answers ? 1 : 0);
  bool sampled = !acts && (needs.data == Needs::Data::rollout || pairs_online(stage, needs));
  if (others > 0 && (!sampled || stage.rollout.group_size <= others))
    bad_input(stage.rollout_block.place(), "rollout.",
              stage.rollout.given_answers ? "given_answers" : "reference_answers",
              " joins a group of sampled answers, of at least ", others + 1, " in all");
  check_ahead(stage, sampled, reward.get());
  stage.rollout.reprompt.check();
  if (stage.rollout.reprompt.any() && !sampled)
    bad_input(stage.rollout_block.place(), "rollout.reprompt is for sampled answers to prompts of text");
  if (stage.rollout.batch_size && *stage.rollout.batch_size % stage.rollout.group_size)
    bad_input(stage.rollout_block.place(), "rollout.batch_size must be a multiple of group_size ",
              stage.rollout.group_size, "; got ", *stage.rollout.batch_size);
  return stage;
}

void fill_defaults(StageConfig& stage) {
  Needs needs = make_objective(stage)->needs();
  if (stage.credit.is_null() && needs.advantage)
    stage.credit = typed(needs.credit.empty() ? "group_normalized" : needs.credit);
  bool online_pairs = pairs_online(stage, needs);
  if (stage.select.is_null()) stage.select = typed(online_pairs ? "best_worst" : needs.best_rows ? "best_of_n" : "all");
  if (!stage.train.optimizer.lr)
    stage.train.optimizer.lr = needs.data == Needs::Data::demonstrations ? 2e-5
                               : needs.data == Needs::Data::transitions  ? 3e-4
                                                                         : 1e-6;
}

}  // namespace

Recipe Recipe::load(const std::string& file, const std::vector<std::string>& overrides) {
  return from(Config::load(file, overrides));
}

Recipe Recipe::from(const Config& config) {
  Recipe recipe;
  std::vector<std::string> known = kStageKeys;
  known.insert(known.end(), {"run", "stages"});
  reject_unknown_keys(config, known);
  if (const Config* run = config.find("run")) recipe.run = read_options<RunOptions>(*run);
  const Config* stages = config.find("stages");
  if (!stages) {
    recipe.stages.push_back(read_stage(config, config, true));
  } else {
    if (!stages->is_list() || stages->items().empty()) bad_input(stages->place(), "expected a list of stages");
    for (const auto& [key, node] : stages->items()) {
      reject_unknown_keys(node, kStageKeys);
      recipe.stages.push_back(read_stage(node, config, false));
    }
  }
  std::map<std::string, int> seen;
  for (auto& stage : recipe.stages) {
    fill_defaults(stage);
    stage.name = stage.objective.find("type")->text();
    if (int count = ++seen[stage.name]; count > 1) stage.name += "_" + std::to_string(count);
  }
  return recipe;
}

void Recipe::check_files() const {
  for (const auto& stage : stages) {
    auto files = stage.data.rows();
    files.push_back(stage.data.eval), files.push_back(stage.data.meta);
    for (const auto& file : files)
      if (!file.empty() && !std::filesystem::is_regular_file(file)) bad_input("data", "there is no file '", file, "'");
    if (&stage != &stages.front()) continue;
    const Config* path = stage.policy.find("path");
    if (path && !std::filesystem::is_directory(path->text()))
      bad_input(path->place(), "there is no model directory '", path->text(), "'");
  }
}

Config reward_as_sum(const Config& reward) {
  if (!reward.is_list()) return reward;
  Config sum = typed("weighted_sum");
  sum.set("rewards", reward);
  return sum;
}

std::unique_ptr<Objective> make_objective(const StageConfig& stage) {
  return registry<Objective>().make(stage.objective);
}

bool pairs_online(const StageConfig& stage, const Needs& needs) {
  bool rewarded = !stage.reward.is_null() && stage.data.train.empty();
  return needs.data == Needs::Data::pairs && (rewarded || !stage.environment.is_null());
}

std::unique_ptr<RewardModel> make_reward(const StageConfig& stage) {
  return stage.reward.is_null() ? nullptr : registry<RewardModel>().make(reward_as_sum(stage.reward));
}

std::unique_ptr<Credit> make_credit(const StageConfig& stage) {
  return stage.credit.is_null() ? nullptr : registry<Credit>().make(stage.credit);
}

std::unique_ptr<Selector> make_selector(const StageConfig& stage) {
  return stage.select.is_null() ? nullptr : registry<Selector>().make(stage.select);
}

std::unique_ptr<Environment> make_environment(const StageConfig& stage) {
  auto world = registry<Environment>().make(stage.environment, {kWrappers});
  const Config* wrappers = stage.environment.find(kWrappers);
  if (!wrappers) return world;
  if (!wrappers->is_list()) bad_input(wrappers->place(), "expected a list of blocks {type, ...}");
  for (const auto& [key, block] : wrappers->items())
    world = registry<EnvironmentWrapper>().make(block)->around(std::move(world));
  return world;
}

std::unique_ptr<Worlds> make_worlds(const StageConfig& stage, uint64_t seed) {
  return std::make_unique<Worlds>([&stage] { return make_environment(stage); }, stage.worlds, seed);
}

std::unique_ptr<Policy> make_policy(const StageConfig& stage) {
  auto policy = registry<Policy>().make(stage.policy);
  OptionReader reader(stage.rollout_block);
  policy->visit_rollout(reader);  // its names and ranges were checked with the recipe
  return policy;
}

}  // namespace rft
