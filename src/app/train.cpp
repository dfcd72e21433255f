#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "app/commands.h"
#include "app/plan_stage.h"
#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/train/trainer.h"

namespace rft::app {
namespace {

struct TrainArguments {
  std::string file;
  std::vector<std::string> overrides;
  TrainRequest request;
};

/// --resume and --dry-run after the overrides are options, not overrides: CLI11 sorts them out.
void add_recipe_arguments(CLI::App& command, TrainArguments& arguments) {
  command.add_option("FILE", arguments.file, "the recipe, a YAML file")->required();
  command.add_option("OVERRIDES", arguments.overrides, "key.path=value, replacing what the recipe says");
}

/// Most processes that a layout is looked for on.
constexpr int64_t kMostProcesses = 1024;

/// Bytes of this machine's memory.
double machine_memory() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
}

/// What a process would take, as `rft plan` counts it, and the fewest processes that it fits on.
void print_estimate(const StageConfig& stage, double memory) {
  if (!has_plan(stage)) return;
  StagePlan plan;
  try {
    plan = plan_stage(stage);
  } catch (const UserError& error) {
    std::printf("%s: no estimate of memory: %s\n", stage.name.c_str(), error.what());
    return;
  }
  PlannedLayout one = planned_layout(plan, 1, Sharding::none, memory);
  std::string host = one.memory.host > 0 ? cat(", ", std::round(one.memory.host / 1e7) / 100, " GB of its host's") : "";
  std::printf("%s: about %.2f GB of memory%s on %lld process%s; %s\n", stage.name.c_str(), one.total / 1e9,
              host.c_str(), static_cast<long long>(one.processes), one.processes == 1 ? "" : "es, each",
              smallest_that_fits(planned_layouts(plan, kMostProcesses, memory), memory).c_str());
}

}  // namespace

void add_train(CLI::App& program) {
  auto arguments = std::make_shared<TrainArguments>();
  auto* command = program.add_subcommand("train", "run a recipe");
  command->footer("Example: rft train configs/grpo.yaml train.steps=100 run.seed=1");
  add_recipe_arguments(*command, *arguments);
  command->add_flag("--resume", arguments->request.resume,
                    "go on from the newest whole checkpoint in the run directory");
  command->add_flag("--dry-run", arguments->request.dry_run,
                    "load everything, run one step of each stage, write nothing");
  command->callback([arguments, &program] {
    arguments->request.quiet = program.count("--quiet") > 0;
    Recipe recipe = Recipe::load(arguments->file, arguments->overrides);
    recipe.check_files();
    TrainResult result = train(recipe, arguments->request);
    if (!result.reports) return;
    if (arguments->request.dry_run)
      std::printf("dry run: %.3f s a step, peak memory %.0f MiB, nothing written\n", result.seconds_per_step,
                  result.peak_bytes / (1 << 20));
    else
      std::printf("%s\n", result.directory.c_str());
  });
}

void add_check(CLI::App& program) {
  auto arguments = std::make_shared<TrainArguments>();
  auto* command = program.add_subcommand("check", "validate a recipe without running it");
  command->footer("Example: rft check configs/grpo.yaml");
  add_recipe_arguments(*command, *arguments);
  auto memory = std::make_shared<double>(0);
  command
      ->add_option("--memory", *memory,
                   "10^9 bytes of memory that a process has, which the estimate is held against; without it this "
                   "machine's")
      ->check(CLI::PositiveNumber);
  command->callback([arguments, memory] {
    Recipe recipe = Recipe::load(arguments->file, arguments->overrides);
    recipe.check_files();
    std::printf("%s: %zu stage%s, all in order\n", arguments->file.c_str(), recipe.stages.size(),
                recipe.stages.size() == 1 ? "" : "s");
    for (const StageConfig& stage : recipe.stages)
      print_estimate(stage, *memory > 0 ? *memory * 1e9 : machine_memory());
  });
}

}  // namespace rft::app
