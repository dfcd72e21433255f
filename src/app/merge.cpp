#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "app/commands.h"
#include "policy/adapter_directory.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/nn/image_lora.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/diffusion.h"
#include "rft/policy/seq2seq_lm.h"
#include "rft/policy/text_scorer.h"

namespace rft::app {
namespace {

struct MergeArguments {
  std::string adapter, base, out, dtype = "float32";
};

/// A policy's options; adapters name their base, unless --base does.
template <class Model>
typename Model::Options options_of(const MergeArguments& arguments) {
  typename Model::Options options;
  options.path = arguments.adapter, options.dtype = arguments.dtype;
  if (!arguments.base.empty()) options.path = arguments.base, options.adapter = arguments.adapter;
  return options;
}

template <class Model>
void merge_and_save(Model& policy, const MergeArguments& arguments) {
  policy.merge_adapters();
  make_directories(arguments.out);
  policy.save(arguments.out);
}

template <class Model>
void merge_model(const MergeArguments& arguments) {
  Model policy(options_of<Model>(arguments));
  merge_and_save(policy, arguments);
}

/// A classifier's adapters hold a head that its base model need not have.
void merge_reward_model(const MergeArguments& arguments, const std::string& task) {
  TextScorer policy(options_of<TextScorer>(arguments));
  Needs needs;
  needs.score = true;
  needs.data = task == "TOKEN_CLS" ? Needs::Data::steps : Needs::Data::pairs;
  policy.prepare(needs, 0);
  merge_and_save(policy, arguments);
}

void merge_image_model(const MergeArguments& arguments) {
  if (arguments.base.empty())
    bad_input("--base", "the file of an image model's adapters does not say what they are for: name its directory");
  merge_model<Diffusion>(arguments);
}

void run_merge(const MergeArguments& arguments) {
  const std::string &from = arguments.adapter, &to = arguments.out;
  if (std::filesystem::exists(to) && !(directory_exists(to) && std::filesystem::is_empty(to)))
    bad_input("--out", "'", to, "' exists; name a directory that does not, or is empty");
  const bool image = file_exists(from + "/" + kDiffusersLoraFile);
  if (!image && !file_exists(from + "/adapter_config.json"))
    bad_input(from, "is no adapter directory: there is neither adapter_config.json (PEFT) nor ", kDiffusersLoraFile,
              " (diffusers)");
  const std::string task = image ? "" : adapter_task(from);
  if (image)
    merge_image_model(arguments);
  else if (task == "SEQ_CLS" || task == "TOKEN_CLS")
    merge_reward_model(arguments, task);
  else if (task == "SEQ_2_SEQ_LM")
    merge_model<Seq2SeqLm>(arguments);
  else
    merge_model<CausalLm>(arguments);
  std::fprintf(stderr, "merged %s into %s\n", from.c_str(), to.c_str());
}

}  // namespace

void add_merge(CLI::App& program) {
  auto arguments = std::make_shared<MergeArguments>();
  CLI::App* command = program.add_subcommand("merge", "a model with its adapters added to the weights");
  command->add_option("adapter", arguments->adapter, "PEFT adapter directory, or one with diffusers' LoRA file")
      ->required();
  command->add_option("--out", arguments->out, "directory of the whole model, new or empty")->required();
  command->add_option("--base", arguments->base, "the model without them; a PEFT adapter names its own");
  command->add_option("--dtype", arguments->dtype, "what weights are added and kept in")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  command->footer("Example: rft merge runs/grpo/final --out models/tuned");
  command->callback([arguments] { run_merge(*arguments); });
}

}  // namespace rft::app
