#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/files.h"
#include "rft/io/gif.h"
#include "rft/train/recipe.h"

namespace rft::app {
namespace {

constexpr int64_t kHeight = 180, kWidth = 240;

struct ActArguments {
  std::string run, policy, out;
  std::vector<std::string> overrides;
  int64_t episodes = 10, every = 4;
  uint64_t seed = 0;
  bool greedy = false, pairs = false;
};

/// The last stage of a run directory's recipe with what the run ended with, or of a recipe.
StageConfig stage_of(const ActArguments& arguments) {
  bool directory = std::filesystem::is_directory(arguments.run);
  StageConfig stage =
      Recipe::load(directory ? arguments.run + "/config.yaml" : arguments.run, arguments.overrides).stages.back();
  std::string path = arguments.policy;
  if (path.empty() && directory) path = arguments.run + "/final";
  if (!path.empty() && !std::filesystem::is_directory(path))
    bad_input(path, "there is no such directory of a policy; a run writes final/ when it ends");
  if (!path.empty()) stage.policy.set("path", Config::scalar(path, true));
  if (stage.environment.is_null()) bad_input(arguments.run, "the recipe has no `environment` to act in");
  return stage;
}

nlohmann::json numbers(const Tensor& x) {  // [T, D]
  auto out = nlohmann::json::array();
  const double* at = x.const_data_ptr<double>();
  for (int64_t t = 0; t < x.size(0); ++t, at += x.size(1)) out.push_back(std::vector<double>(at, at + x.size(1)));
  return out;
}

/// One episode as `transitions` and behaviour cloning read them: a row is a step of the environment, however
/// many of them a decision of the policy lasted.
nlohmann::ordered_json line_of(const Experience& episodes, int64_t row) {
  const int64_t T = episodes.mask[row].sum().item<int64_t>();
  auto part = [&](const char* name) { return episodes.extra.tensor(name)[row].narrow(0, 0, T); };
  Tensor observation = part(extra::step_observation).flatten(0, 1), reward = part(extra::step_reward).flatten();
  Tensor action = part(extra::command).reshape({observation.size(0), -1});
  const bool chunks = episodes.extra.has(extra::duration);
  const int64_t steps = chunks ? part(extra::duration).sum().item<int64_t>() : T;
  auto first = [&](const Tensor& x) { return x.narrow(0, 0, steps).contiguous(); };
  Tensor after = part(extra::next_observation).narrow(0, T - 1, 1).to(at::kDouble);
  reward = first(reward);
  nlohmann::ordered_json json{{"observations", numbers(at::cat({first(observation), after}))},
                              {"actions", numbers(first(action))}};
  json["rewards"] = std::vector<double>(reward.data_ptr<double>(), reward.data_ptr<double>() + steps);
  json["terminated"] = part(extra::terminated)[T - 1].item<bool>();
  json["return"] = reward.sum().item<double>();
  return json;
}

/// One episode a line.
std::string lines_of(const Experience& episodes) {
  std::string lines;
  for (int64_t i = 0; i < episodes.rows(); ++i)
    if (episodes.mask[i].any().item<bool>()) lines += line_of(episodes, i).dump() + "\n";
  return lines;
}

/// Of every two episodes of one start a line, the better one as `chosen`; none of equal ones, or where one broke down.
std::string pairs_of(const Experience& episodes) {
  std::string lines;
  for (int64_t i = 0; i + 1 < episodes.rows(); i += 2) {
    if (!episodes.mask[i].any().item<bool>() || !episodes.mask[i + 1].any().item<bool>()) continue;
    auto first = line_of(episodes, i), second = line_of(episodes, i + 1);
    double better = first["return"].get<double>() - second["return"].get<double>();
    if (better == 0) continue;
    if (better < 0) std::swap(first, second);
    lines += nlohmann::ordered_json{{"chosen", first}, {"rejected", second}}.dump() + "\n";
  }
  return lines;
}

void run_act(const ActArguments& arguments) {
  StageConfig stage = stage_of(arguments);
  stage.worlds.normalize_reward = false;
  auto policy = make_policy(stage);
  auto* actor = dynamic_cast<Actor*>(policy.get());
  if (!actor) bad_input(arguments.run, "the recipe's policy does not act in environments");
  auto worlds = make_worlds(stage, arguments.seed);
  actor->enter(worlds->spec(), {}, arguments.seed);
  std::vector<Tensor> frames;
  int64_t at = 0;
  auto show = [&](const Environment& environment) {
    auto* rendered = dynamic_cast<const Rendered*>(&environment.unwrapped());
    if (rendered && at++ % arguments.every == 0) frames.push_back(rendered->render(kHeight, kWidth));
  };
  Acting acting{.greedy = arguments.greedy, .transitions = true, .raw = true, .each_step = true};
  Metrics metrics;
  if (arguments.pairs && (arguments.greedy || worlds->spec().agents > 1))
    bad_input("--pairs", "two episodes of one start differ by the policy's draws, and are one agent's: not with ",
              arguments.greedy ? "--greedy" : "several agents");
  Experience episodes =
      worlds->episodes(*actor, arguments.episodes, arguments.pairs ? 2 : 1, arguments.seed, acting, metrics, show);
  make_directories(arguments.out);
  std::string lines = arguments.pairs ? pairs_of(episodes) : lines_of(episodes);
  if (!lines.empty()) write_text(arguments.out + (arguments.pairs ? "/pairs.jsonl" : "/trajectories.jsonl"), lines);
  if (!frames.empty()) write_episode(arguments.out + "/episode", at::stack(frames));
  nlohmann::ordered_json summary;
  for (const auto& [name, value] : metrics.means()) summary[name] = value;
  std::printf("%s\n", summary.dump().c_str());
}

}  // namespace

void add_act(CLI::App& program) {
  auto arguments = std::make_shared<ActArguments>();
  CLI::App* command = program.add_subcommand("act", "episodes of a policy for control: trajectories and a film");
  command->add_option("RUN", arguments->run, "a run directory (its final/ acts), or a recipe")->required();
  command->add_option("OVERRIDES", arguments->overrides, "key.path=value, replacing what the recipe says");
  command->add_option("--out", arguments->out, "directory for trajectories.jsonl, episode.gif, episode.png")
      ->required();
  command->add_option("--policy", arguments->policy, "a policy's directory, instead of the run's final/");
  command->add_option("--episodes", arguments->episodes, "how many")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command
      ->add_option("--every", arguments->every,
                   "the film shows what every so many decisions of the first episode led to")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "of the episodes' starts and of the policy's draws")
      ->capture_default_str();
  command->add_flag("--greedy", arguments->greedy, "the likeliest actions, without noise");
  command->add_flag("--pairs", arguments->pairs,
                    "two episodes of every start, as a preference for the one of the higher return: pairs.jsonl "
                    "(chosen, rejected) instead of trajectories.jsonl");
  command->footer("Example: rft act runs/half-cheetah --out film --episodes 5 --greedy");
  command->callback([arguments] { run_act(*arguments); });
}

}  // namespace rft::app
