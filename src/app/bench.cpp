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
  auto* command = program.add_subcommand("bench", "the built-in benchmarks, as a table");
  command->footer("Example: rft bench generate\nThe ones that run a peer beside it are in benchmarks/.");
  command->add_option("NAME", *name, "generate or train; all of them where it is left out");
  command->add_option("--model", options->model,
                      "generate: a model directory to decode with, driven through stdin (benchmarks/generate.py)");
  command->add_option("--batch", options->batch, "generate: rows at once")->check(CLI::PositiveNumber);
  command->add_option("--prompt-tokens", options->prompt_tokens, "generate: tokens of each prompt")
      ->check(CLI::PositiveNumber);
  command->add_option("--new-tokens", options->new_tokens, "generate: tokens of each completion")
      ->check(CLI::PositiveNumber);
  command->callback([name, options] {
    const std::vector<std::string> known = {"generate", "train"};
    if (!name->empty() && std::find(known.begin(), known.end(), *name) == known.end())
      bad_input("rft bench", "there is no benchmark '", *name, "'", suggestion(*name, known));
    if (*name != "train") bench_generate(*options);
    if (*name != "generate") bench_train();
  });
}

}  // namespace rft::app
