#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/commands.h"
#include "app/model_options.h"
#include "rft/core/clock.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/rows.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/lm_sampler.h"
#include "rft/policy/seq2seq_lm.h"
#include "rft/policy/seq2seq_sampler.h"
#include "rft/text/json_pattern.h"
#include "rft/train/progress.h"

namespace rft::app {
namespace {

struct GenerateArguments {
  std::string model, prompts, out;
  ModelOptions kept;
  int64_t samples = 1;
  uint64_t seed = 0;
  bool quiet = false, json = false;
  std::string regex, json_schema;
  SamplerOptions sampler;
};

/// What completions are held to, where something is given.
std::optional<GrowingPattern> pattern_of(const GenerateArguments& arguments) {
  if (!arguments.regex.empty()) return GrowingPattern(arguments.regex, "--regex");
  if (arguments.json) return GrowingPattern(json_object_pattern(), "--json");
  if (arguments.json_schema.empty()) return std::nullopt;
  return GrowingPattern(json_schema_pattern(read_text(arguments.json_schema), arguments.json_schema),
                        arguments.json_schema);
}

/// Every prompt's tokens; a row that can't be answered is named by file and line before any work is done.
std::vector<std::vector<int64_t>> encode(const CausalLm& policy, const Rows& rows, int64_t max_new_tokens) {
  const int64_t positions = policy.decoder().config().max_positions;
  std::vector<std::vector<int64_t>> prompts;
  for (int64_t i = 0; i < rows.size(); ++i) {
    prompts.push_back(policy.prompt_row(rows, i).prompt);
    if (static_cast<int64_t>(prompts.back().size()) + max_new_tokens > positions) {
      bad_input(rows.where(i), "the prompt's ", prompts.back().size(), " tokens and --max-new-tokens ", max_new_tokens,
                " exceed the model's ", positions, " positions");
    }
  }
  return prompts;
}

/// Of an encoder-decoder model the completion takes no room from the prompt.
std::vector<std::vector<int64_t>> encode(const Seq2SeqLm& policy, const Rows& rows, int64_t) {
  const int64_t positions = policy.model().max_positions();
  std::vector<std::vector<int64_t>> prompts;
  for (int64_t i = 0; i < rows.size(); ++i) {
    prompts.push_back(policy.prompt_row(rows, i).prompt);
    if (static_cast<int64_t>(prompts.back().size()) > positions)
      bad_input(rows.where(i), "the prompt has ", prompts.back().size(), " tokens; the model takes at most ",
                positions);
  }
  return prompts;
}

using Prompts = std::vector<std::vector<int64_t>>;

std::vector<SampledRow> sampled_by(const CausalLm& policy, const Prompts& prompts, const GenerateArguments& arguments,
                                   const SamplerOptions& sampler, const SamplerProgress& report) {
  return sample_rows(policy.decoder(), &policy.tokenizer(), prompts, arguments.samples, arguments.seed, false, sampler,
                     report);
}

std::vector<SampledRow> sampled_by(const Seq2SeqLm& policy, const Prompts& prompts, const GenerateArguments& arguments,
                                   const SamplerOptions& sampler, const SamplerProgress& report) {
  return sample_rows(policy.model(), &policy.tokenizer(), prompts, arguments.samples, arguments.seed, false, sampler,
                     report, policy.first_id());
}

std::string out_line(const std::string& row, const SampledRow& sampled, const Tokenizer& tokenizer, int64_t sample) {
  auto json = nlohmann::json::parse(row);
  json["completion"] = sampled_text(tokenizer, sampled.ids);
  json["token_ids"] = sampled.ids;
  json["logprobs"] = sampled.logp;
  json["finish_reason"] = sampled.truncated ? "length" : "stop";
  json["sample"] = sample;
  return json.dump() + "\n";
}

template <class Model>
void run_generate(const GenerateArguments& arguments) {
  const Rows rows = Rows::load(arguments.prompts);
  typename Model::Options options;
  options.path = arguments.model;
  take_model_options(arguments.kept, options);
  if (std::is_same_v<Model, Seq2SeqLm>) refuse_for_seq2seq(arguments.kept);
  const Model policy(options);
  const auto prompts = encode(policy, rows, arguments.sampler.max_new_tokens);
  SamplerOptions sampler = arguments.sampler;
  sampler.pattern = pattern_of(arguments);
  sampler.eos_ids = policy.eos_ids();
  Progress progress("generate", arguments.quiet);
  progress.begin("", 0, rows.size() * arguments.samples, "completions");
  const Clock clock;
  const auto report = [&](int64_t done, int64_t tokens) {
    progress.update(done, {{"tokens/s", std::round(static_cast<double>(tokens) / clock.seconds())}});
  };
  const auto sampled = sampled_by(policy, prompts, arguments, sampler, report);
  progress.finish();
  std::string out;
  for (int64_t i = 0; i < rows.size() * arguments.samples; ++i) {
    out += out_line(rows.json(i / arguments.samples), sampled[static_cast<size_t>(i)], policy.tokenizer(),
                    i % arguments.samples);
  }
  write_text(arguments.out, out);
}

void add_sampler_options(CLI::App& command, SamplerOptions& sampler) {
  const auto at_least_one = CLI::Range(int64_t{1}, int64_t{1} << 40);
  command.add_option("--max-new-tokens", sampler.max_new_tokens, "a completion is cut off after so many tokens")
      ->check(at_least_one)
      ->capture_default_str();
  command.add_option("--temperature", sampler.temperature, "logits are divided by it; 0 is greedy")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--top-p", sampler.top_p, "the smallest set of tokens that holds this much probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--top-k", sampler.top_k, "the so many likeliest tokens; 0 is all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--min-p", sampler.min_p, "leave out tokens below this share of the likeliest one's probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--repetition-penalty", sampler.repetition_penalty, "above 1: tokens already seen are less likely")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--stop", sampler.stop, "a text that ends a completion (may be given several times)");
  command.add_option("--batch-size", sampler.batch_size, "completions decoded at once; 0 is chosen")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace

void add_generate(CLI::App& program) {
  auto arguments = std::make_shared<GenerateArguments>();
  CLI::App* command = program.add_subcommand("generate", "completions of prompts");
  command->add_option("model", arguments->model, "Hugging Face model directory, or PEFT adapter directory")->required();
  command->add_option("--prompts", arguments->prompts, "JSONL: \"prompt\" or \"input_ids\" a row")->required();
  command->add_option("--out", arguments->out, "JSONL: the row, completion, token_ids, logprobs, finish_reason, sample")
      ->required();
  command->add_option("--samples", arguments->samples, "completions of each prompt")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "the same seed gives the same completions")->capture_default_str();
  add_model_options(*command, arguments->kept);
  add_quantize_option(*command, arguments->kept);
  add_sampler_options(*command, arguments->sampler);
  CLI::Option* regex =
      command->add_option("--regex", arguments->regex, "completions match this Perl-compatible regular expression");
  CLI::Option* json = command->add_flag("--json", arguments->json, "completions are JSON objects");
  CLI::Option* schema = command->add_option("--json-schema", arguments->json_schema,
                                            "completions are JSON that this file's JSON Schema describes");
  regex->excludes(json)->excludes(schema), json->excludes(schema);
  command->footer("Example: rft generate models/tiny --prompts prompts.jsonl --out answers.jsonl --temperature 0");
  command->callback([arguments, &program] {
    arguments->quiet = program.count("--quiet") > 0;
    is_seq2seq_directory(arguments->model) ? run_generate<Seq2SeqLm>(*arguments) : run_generate<CausalLm>(*arguments);
  });
}

}  // namespace rft::app
