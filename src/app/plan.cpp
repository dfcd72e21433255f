#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "app/commands.h"
#include "app/plan_model.h"
#include "policy/adapter_directory.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/rows.h"
#include "rft/policy/causal_lm.h"
#include "rft/train/recipe.h"

namespace rft::app {
namespace {

constexpr double kGiga = 1e9;
/// Rows whose length is looked at.
constexpr int64_t kRowsRead = 1000;
/// What the program and LibTorch take on the CPU before there is a model, measured.
constexpr double kProgramBytes = 0.25e9;
constexpr Sharding kShardings[] = {Sharding::none, Sharding::optimizer, Sharding::gradients, Sharding::parameters};
constexpr const char* kNames[] = {"none", "optimizer", "gradients", "parameters"};

struct PlanArguments {
  std::string file;
  std::vector<std::string> overrides;
  int64_t gpus = 8;
  double memory = 0, tflops = 100, network = 25, memory_bandwidth = 2000, tokens = 0;
};

/// What a stage's blocks say of the model.
struct StageModel {
  CausalLm::Options policy;
  CausalLm::Rollout rollout;
  DecoderConfig config;
};

StageModel model_of(const StageConfig& stage) {
  const Config* type = stage.policy.find("type");
  if (!type || type->text() != "causal_lm")
    bad_input(stage.policy.place(), "a plan is made of language models (type causal_lm); got '",
              type ? type->text() : "", "'");
  StageModel out;
  OptionReader policy(stage.policy), rollout(stage.rollout_block);
  out.policy.visit(policy), out.rollout.visit(rollout);
  std::string path = model_directory(out.policy.path);
  out.policy.use_lora |= path != out.policy.path || !out.policy.adapter.empty();
  std::string file = path + "/config.json";
  if (!file_exists(file)) bad_input(file, "a plan needs the model's config.json (its weights are not read)");
  out.config = DecoderConfig::from_json(read_text(file), file);
  return out;
}

/// The mean number of tokens of a row of text, prompt and answer.
double tokens_of_rows(const StageConfig& stage, const std::string& model) {
  Rows rows = Rows::load(stage.data.rows());
  Tokenizer tokenizer = Tokenizer::load(model);
  int64_t count = std::min(rows.size(), kRowsRead);
  double tokens = 0;
  for (int64_t i = 0; i < count; ++i) {
    double answers = 0, length = 0;
    for (const char* column : {"completion", "chosen", "rejected"})
      if (rows.has(i, column)) ++answers, length += static_cast<double>(tokenizer.encode(rows.text(i, column)).size());
    for (const char* column : {"prompt", "messages", "text"})
      if (rows.has(i, column)) tokens += static_cast<double>(tokenizer.encode(rows.text(i, column)).size());
    tokens += answers > 0 ? length / answers : 0;
  }
  return tokens / static_cast<double>(count);
}

struct StagePlan {
  PlanModel model;
  PlanLoad load;
};

StagePlan plan_of(const StageConfig& stage, const PlanArguments& arguments) {
  StageModel of = model_of(stage);
  Needs needs = make_objective(stage)->needs();
  bool pairs = needs.data == Needs::Data::pairs, rollout = needs.data == Needs::Data::rollout;
  StagePlan out;
  int64_t bytes = of.policy.dtype == "bfloat16" ? 2 : of.policy.dtype == "float64" ? 8 : 4;
  out.model =
      plan_model(of.config, bytes, of.policy.gradient_checkpointing, of.policy.use_lora ? &of.policy.lora : nullptr);
  bool own_reference = needs.ref_logp && (!of.policy.use_lora || !of.policy.reference.empty());
  out.model.others = own_reference ? out.model.weights : 0;
  bool critic = needs.value && of.policy.critic == "model";
  if (critic) out.model.others += out.model.weights, out.model.trained += out.model.weights;
  out.load.rows = static_cast<double>(stage.train.batch_size) * (pairs ? 2 : 1);
  out.load.micro_rows = static_cast<double>(stage.train.micro_batch_size.value_or(0)) * (pairs ? 2 : 1);
  out.load.answer = rollout ? static_cast<double>(of.rollout.max_new_tokens) : 0;
  out.load.tokens = arguments.tokens > 0 ? arguments.tokens : tokens_of_rows(stage, of.policy.path) + out.load.answer;
  out.load.judged = needs.ref_logp ? 1 : 0;
  out.load.updates = static_cast<double>(stage.train.iterations);
  return out;
}

double gigabytes(double bytes) { return bytes / kGiga; }

struct Layout {
  int64_t processes;
  size_t sharding;
};

void print_row(const StagePlan& plan, const PlanArguments& arguments, const Layout& at, const PlanMemory& memory) {
  PlanCluster cluster{at.processes, arguments.tflops * 1e12, arguments.network * kGiga,
                      arguments.memory_bandwidth * kGiga};
  PlanTime time = plan_time(plan.model, plan.load, cluster, kShardings[at.sharding]);
  double total = memory.total() + kProgramBytes;
  const char* fits = arguments.memory <= 0 ? "" : total <= arguments.memory * kGiga ? "fits" : "too large";
  std::printf("%9lld  %-10s %9.2f %9.2f %9.2f %9.2f %11.2f %9.2f  %9.3f %8.3f %8.3f  %s\n",
              static_cast<long long>(at.processes), kNames[at.sharding], gigabytes(memory.weights + memory.others),
              gigabytes(memory.gradients), gigabytes(memory.optimizer), gigabytes(memory.buffers),
              gigabytes(memory.activations), gigabytes(total), time.total(), time.sampling, time.waiting, fits);
}

/// Layouts in the order of what they cost: processes first, then what has to be sent.
void print_plan(const std::string& name, const StagePlan& plan, const PlanArguments& arguments) {
  std::printf("%s: %.3f billion weights, %.3f trained; %.0f trajectories a step of %.0f tokens\n", name.c_str(),
              plan.model.weights / 1e9, plan.model.trained / 1e9, plan.load.rows, plan.load.tokens);
  std::printf("%9s  %-10s %9s %9s %9s %9s %11s %9s  %9s %8s %8s\n", "processes", "shard", "weights", "gradients",
              "optimizer", "buffers", "activations", "GB", "s a step", "sampling", "waiting");
  std::optional<Layout> smallest;
  for (int64_t processes = 1; processes <= arguments.gpus; processes *= 2)
    for (size_t s = 0; s < 4; ++s) {
      if (processes == 1 && s > 0) break;
      if (s == 3 && plan.model.trained < plan.model.weights)
        break;  // with adapters there are no whole layers to gather
      PlanMemory memory = plan_memory(plan.model, plan.load, processes, kShardings[s]);
      print_row(plan, arguments, {processes, s}, memory);
      bool fits = arguments.memory > 0 && memory.total() + kProgramBytes <= arguments.memory * kGiga;
      if (fits && !smallest) smallest = Layout{processes, s};
    }
  if (arguments.memory <= 0) return;
  if (smallest)
    std::printf("the smallest that fits %g GB: %lld %s, train.shard=%s\n", arguments.memory,
                static_cast<long long>(smallest->processes), smallest->processes == 1 ? "process" : "processes",
                kNames[smallest->sharding]);
  else
    std::printf(
        "none fits %g GB; what takes less: train.micro_batch_size, policy.gradient_checkpointing, policy.lora\n",
        arguments.memory);
}

void run_plan(const PlanArguments& arguments) {
  Recipe recipe = Recipe::load(arguments.file, arguments.overrides);
  for (const StageConfig& stage : recipe.stages) print_plan(stage.name, plan_of(stage, arguments), arguments);
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
  command
      ->add_option("--memory", arguments->memory,
                   "10^9 bytes of memory that one has; says the smallest layout that fits")
      ->check(CLI::PositiveNumber);
  command->add_option("--tokens", arguments->tokens, "of a row, prompt and answer; without it the rows are read")
      ->check(CLI::PositiveNumber);
  command->callback([arguments] { run_plan(*arguments); });
}

}  // namespace rft::app
