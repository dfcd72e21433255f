#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <vector>

#include "app/commands.h"
#include "app/plan_stage.h"

namespace rft::app {
namespace {

constexpr double kGiga = 1e9;

struct PlanArguments {
  std::string file;
  std::vector<std::string> overrides;
  int64_t gpus = 8;
  double memory = 0, tflops = 100, network = 25, memory_bandwidth = 2000, host_bandwidth = 40, tokens = 0;
};

double gigabytes(double bytes) { return bytes / kGiga; }

void print_row(const StagePlan& plan, const PlanArguments& arguments, const PlannedLayout& at) {
  PlanCluster cluster{at.data, arguments.tflops * 1e12, arguments.network * kGiga, arguments.memory_bandwidth * kGiga,
                      arguments.host_bandwidth * kGiga};
  PlanTime time = plan_time(plan.model, plan.load, cluster, at.sharding);
  const PlanMemory& memory = at.memory;
  const char* fits = arguments.memory <= 0 ? "" : at.fits ? "fits" : "too large";
  std::printf("%9lld  %-10s %9.2f %9.2f %9.2f %9.2f %11.2f %9.2f  %9.3f %8.3f %8.3f",
              static_cast<long long>(at.processes), name_of(at.sharding), gigabytes(memory.weights + memory.others),
              gigabytes(memory.gradients), gigabytes(memory.optimizer), gigabytes(memory.buffers),
              gigabytes(memory.activations), gigabytes(at.total), time.total(), time.sampling, time.waiting);
  if (plan.model.offload) std::printf(" %9.2f %8.3f", gigabytes(memory.host), time.host);
  std::printf("  %s\n", fits);
}

void print_plan(const std::string& name, const StagePlan& plan, const PlanArguments& arguments) {
  std::printf("%s: %.6g million weights, %.6g million trained; %.0f trajectories a step of %.0f tokens\n", name.c_str(),
              (plan.model.whole + plan.model.frozen_adapters) / 1e6, plan.model.whole_trained / 1e6, plan.load.rows,
              plan.load.tokens);
  std::printf("%9s  %-10s %9s %9s %9s %9s %11s %9s  %9s %8s %8s%s\n", "processes", "shard", "weights", "gradients",
              "optimizer", "buffers", "activations", "GB", "s a step", "sampling", "waiting",
              plan.model.offload ? "   host GB     step" : "");
  auto layouts = planned_layouts(plan, arguments.gpus, arguments.memory * kGiga);
  for (const PlannedLayout& layout : layouts) print_row(plan, arguments, layout);
  if (arguments.memory > 0) std::printf("%s\n", smallest_that_fits(layouts, arguments.memory * kGiga).c_str());
}

void run_plan(const PlanArguments& arguments) {
  Recipe recipe = Recipe::load(arguments.file, arguments.overrides);
  for (const StageConfig& stage : recipe.stages) print_plan(stage.name, plan_stage(stage, arguments.tokens), arguments);
}

}  // namespace

void add_plan(CLI::App& program) {
  auto arguments = std::make_shared<PlanArguments>();
  auto* command = program.add_subcommand(
      "plan", "memory of a process and seconds of a step for 1, 2, 4, ... processes, estimated from a recipe");
  command->footer("Example: rft plan configs/grpo.yaml --gpus 8 --memory 80 --tflops 400 --network 50");
  command->add_option("FILE", arguments->file, "the recipe, a YAML file")->required();
  command->add_option("OVERRIDES", arguments->overrides, "key.path=value, replacing what the recipe says");
  auto number = [&](const char* name, auto& value, const char* help) {
    command->add_option(name, value, help)->check(CLI::PositiveNumber)->capture_default_str();
  };
  number("--gpus", arguments->gpus, "most processes, of a GPU (or CPU) each");
  number("--tflops", arguments->tflops,
         "10^12 operations a second that one reaches (of bfloat16 on a GPU: about half its peak)");
  number("--network", arguments->network, "10^9 bytes a second that a process sends to others");
  number("--memory-bandwidth", arguments->memory_bandwidth, "10^9 bytes a second that one reads from its memory");
  number("--host-bandwidth", arguments->host_bandwidth,
         "10^9 bytes a second of the host's memory for each, where the optimizer is offloaded");
  command
      ->add_option("--memory", arguments->memory,
                   "10^9 bytes of memory that one has; says the smallest layout that fits")
      ->check(CLI::PositiveNumber);
  command->add_option("--tokens", arguments->tokens, "of a row, prompt and answer; without it the rows are read")
      ->check(CLI::PositiveNumber);
  command->callback([arguments] { run_plan(*arguments); });
}

}  // namespace rft::app
