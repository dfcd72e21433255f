#include "app/plan_stage.h"

#include <algorithm>
#include <cmath>

#include "policy/adapter_directory.h"
#include "rft/core/error.h"
#include "rft/io/adapter_files.h"
#include "rft/io/files.h"
#include "rft/io/rows.h"
#include "rft/policy/causal_lm.h"

namespace rft::app {
namespace {

/// Rows whose length is looked at.
constexpr int64_t kRowsRead = 1000;
/// What the program and LibTorch take on the CPU before there is a model, measured.
constexpr double kProgramBytes = 0.25e9;

/// What a stage's blocks say of the model.
struct StageModel {
  CausalLm::Options policy;
  CausalLm::Rollout rollout;
  DecoderConfig config;
};

StageModel model_of(const StageConfig& stage) {
  if (!has_plan(stage)) {
    const Config* type = stage.policy.find("type");
    bad_input(stage.policy.place(), "a plan is made of language models (type causal_lm); got '",
              type ? type->text() : "", "'");
  }
  StageModel out;
  OptionReader policy(stage.policy), rollout(stage.rollout_block);
  out.policy.visit(policy), out.rollout.visit(rollout);
  follow_adapter(out.policy.path, out.policy.adapter, out.policy.lora, out.policy.use_lora);
  if (!out.policy.adapter.empty())
    if (auto held = adapters_within(out.policy.adapter, kFrozenAdapters); !held.empty())
      out.policy.frozen_adapters = std::move(held);
  std::string file = out.policy.path + "/config.json";
  if (!file_exists(file)) bad_input(file, "a plan needs the model's config.json (its weights are not read)");
  out.config = DecoderConfig::from_json(read_text(file), file);
  return out;
}

PlanModel counted(const StageModel& of, const TrainOptions& train) {
  int64_t bytes = of.policy.dtype == "bfloat16" ? 2 : of.policy.dtype == "float64" ? 8 : 4;
  std::vector<LoraConfig> frozen;
  for (const std::string& directory : of.policy.frozen_adapters) frozen.push_back(read_adapter_config(directory));
  PlanSetting setting{bytes, of.policy.gradient_checkpointing, of.policy.use_lora ? &of.policy.lora : nullptr,
                      train.tensor_parallel, of.policy.quantize};
  for (const LoraConfig& one : frozen) setting.frozen_adapters.push_back(&one);
  PlanModel out = plan_model(of.config, setting);
  out.offload = train.offload == "optimizer";
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

}  // namespace

bool has_plan(const StageConfig& stage) {
  const Config* type = stage.policy.find("type");
  return type && type->text() == "causal_lm";
}

StagePlan plan_stage(const StageConfig& stage, double tokens) {
  StageModel of = model_of(stage);
  Needs needs = make_objective(stage)->needs();
  bool rollout = needs.data == Needs::Data::rollout;
  StagePlan out;
  out.model = counted(of, stage.train);
  bool own_reference = needs.ref_logp && (!of.policy.use_lora || !of.policy.reference.empty());
  out.model.others = own_reference ? out.model.weights : 0;
  bool critic = needs.value && of.policy.critic == "model";
  if (critic) out.model.others += out.model.whole, out.model.trained += out.model.whole;  // never divided
  out.load.rows = static_cast<double>(stage.train.batch_size) * static_cast<double>(needs.blocks());
  out.load.answer = rollout ? static_cast<double>(of.rollout.max_new_tokens) : 0;
  out.load.tokens = tokens > 0 ? tokens : tokens_of_rows(stage, of.policy.path) + out.load.answer;
  out.load.micro_rows =
      static_cast<double>(stage.train.micro_batch_size.value_or(0)) * static_cast<double>(needs.blocks());
  if (stage.train.micro_batch_tokens)
    out.load.micro_rows = std::max(1.0, static_cast<double>(*stage.train.micro_batch_tokens) / out.load.tokens);
  out.load.judged = needs.ref_logp ? 1 : 0;
  out.load.updates = static_cast<double>(stage.train.iterations);
  return out;
}

const char* name_of(Sharding sharding) {
  constexpr const char* kNames[] = {"none", "optimizer", "gradients", "parameters"};
  return kNames[static_cast<size_t>(sharding)];
}

PlannedLayout planned_layout(const StagePlan& plan, int64_t data, Sharding sharding, double memory) {
  PlannedLayout out{
      data * plan.model.tensor, data, sharding, plan_memory(plan.model, plan.load, data, sharding), 0, false};
  out.total = out.memory.total() + kProgramBytes;
  out.fits = memory > 0 && out.total <= memory;
  return out;
}

std::vector<PlannedLayout> planned_layouts(const StagePlan& plan, int64_t most, double memory) {
  std::vector<PlannedLayout> out;
  for (int64_t data = 1; data * plan.model.tensor <= most; data *= 2)
    for (Sharding sharding : {Sharding::none, Sharding::optimizer, Sharding::gradients, Sharding::parameters}) {
      if (data == 1 && sharding != Sharding::none) break;
      out.push_back(planned_layout(plan, data, sharding, memory));
    }
  return out;
}

std::string smallest_that_fits(const std::vector<PlannedLayout>& layouts, double memory) {
  double limit = std::round(memory / 1e7) / 100;
  auto first = std::find_if(layouts.begin(), layouts.end(), [](const PlannedLayout& one) { return one.fits; });
  if (first == layouts.end())
    return cat("none fits ", limit,
               " GB; what takes less: train.micro_batch_size, policy.gradient_checkpointing, policy.lora");
  return cat("the smallest that fits ", limit, " GB: ", first->processes,
             first->processes == 1 ? " process" : " processes", ", train.shard=", name_of(first->sharding));
}

}  // namespace rft::app
