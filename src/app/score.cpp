#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/load_reward.h"
#include "policy/row_image.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/files.h"
#include "rft/io/rows.h"

namespace rft::app {
namespace {

struct ScoreArguments {
  std::string file, data, out;
};

/// The rows' pictures [N, 3, H, W] in [0, 1], which must have one size.
Tensor pictures(const Rows& rows) {
  std::vector<Tensor> out{row_image(rows, 0, extra::image)};
  for (int64_t i = 1; i < rows.size(); ++i)
    out.push_back(sized_row_image(rows, i, extra::image, out[0].size(1), out[0].size(2), "as the first row's is"));
  return at::stack(out);
}

/// Rows of texts (`completion`), or without these of pictures (`image`).
Experience scored_rows(const Rows& rows) {
  Experience batch;
  if (rows.has(0, extra::completion) || !rows.has(0, extra::image)) {
    for (int64_t i = 0; i < rows.size(); ++i) rows.string(i, extra::completion);  // a text, not a number or null
  } else {
    batch.extra.set(extra::image, pictures(rows));
  }
  batch.context = rows.columns();
  if (!batch.context.has_text(extra::prompt))
    batch.context.set_text(extra::prompt, std::vector<std::string>(rows.size()));
  return batch;
}

nlohmann::json number(const Tensor& value) {
  double x = value.item<double>();
  return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json();
}

std::string out_line(const std::string& row, const Rewards& rewards, int64_t i) {
  auto json = nlohmann::json::parse(row);
  json["reward"] = number(rewards.value[i]);
  json["components"] = nlohmann::json::object();
  for (const auto& component : rewards.components) json["components"][component.name] = number(component.value[i]);
  if (!rewards.errors.empty() && !rewards.errors[i].empty()) json["error"] = rewards.errors[i];
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void run_score(const ScoreArguments& arguments) {
  auto reward = load_reward(arguments.file);
  Rows rows = Rows::load(arguments.data);
  for (const auto& column : reward->columns()) rows.require(column);
  Rewards rewards = reward->score(scored_rows(rows));
  std::string out;
  for (int64_t i = 0; i < rows.size(); ++i) out += out_line(rows.json(i), rewards, i);
  write_text(arguments.out, out);
}

}  // namespace

void add_score(CLI::App& program) {
  auto arguments = std::make_shared<ScoreArguments>();
  auto* command = program.add_subcommand("score", "run rewards on given completions or pictures");
  command->footer(
      "Example: rft score reward.yaml --data completions.jsonl --out scored.jsonl\n"
      "A row of --data is {\"completion\": TEXT} or, without that, {\"image\": FILE.png}, and what the rewards read of "
      "it.\n"
      "reward.yaml is a recipe, or just its `reward:` block. A reward that could not be computed is null, with the\n"
      "reason in \"error\".");
  command->add_option("REWARD", arguments->file, "the rewards, a YAML file")->required();
  command
      ->add_option("--data", arguments->data,
                   "rows with \"completion\" or \"image\" and what the rewards read (.jsonl)")
      ->required();
  command->add_option("--out", arguments->out, "the rows with \"reward\" and \"components\"")->required();
  command->callback([arguments] { run_score(*arguments); });
}

}  // namespace rft::app
