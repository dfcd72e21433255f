#include "app/bench.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "app/commands.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft::app {

void add_bench(CLI::App& program) {
  auto name = std::make_shared<std::string>();
  auto options = std::make_shared<GenerateBench>();
  auto worlds = std::make_shared<EnvironmentBench>();
  auto* command = program.add_subcommand("bench", "the built-in benchmarks, as a table");
  command->footer("Example: rft bench generate\nThe ones that run a peer beside it are in benchmarks/.");
  command->add_option("NAME", *name, "environment, generate or train; all of them where it is left out");
  command->add_option("--model", options->model,
                      "generate: a model directory to decode with, driven through stdin (benchmarks/generate.py)");
  command->add_option("--batch", options->batch, "generate: rows at once")->check(CLI::PositiveNumber);
  command->add_option("--prompt-tokens", options->prompt_tokens, "generate: tokens of each prompt")
      ->check(CLI::PositiveNumber);
  command->add_option("--new-tokens", options->new_tokens, "generate: tokens of each completion")
      ->check(CLI::PositiveNumber);
  command->add_flag(
      "--ragged", options->ragged,
      "generate: 4 x --batch rows whose completions are 1, 1/2, ..., 1/16 of --new-tokens long, and whose "
      "prompts 1, 1/2 and 1/4 of --prompt-tokens");
  add_model_options(*command, options->kept, "generate: ");
  add_quantize_option(*command, options->kept, "generate: ");
  command->add_option("--task", worlds->task, "environment: which (rft list environments)");
  command->add_option("--environments", worlds->environments, "environment: how many side by side")
      ->check(CLI::PositiveNumber);
  command->add_option("--seconds", worlds->seconds, "environment: how long to measure")->check(CLI::PositiveNumber);
  command->callback([name, options, worlds] {
    const std::vector<std::string> known = {"environment", "generate", "train"};
    if (!name->empty() && std::find(known.begin(), known.end(), *name) == known.end())
      bad_input("rft bench", "there is no benchmark '", *name, "'", suggestion(*name, known));
    auto chosen = [&](const char* one) { return name->empty() || *name == one; };
    if (chosen("generate")) bench_generate(*options);
    if (chosen("train")) bench_train();
    if (chosen("environment")) bench_environment(*worlds);
  });
}

}  // namespace rft::app
