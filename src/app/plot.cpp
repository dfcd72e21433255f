#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "app/commands.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/train/curves.h"

namespace rft::app {
namespace {

struct PlotArguments {
  std::vector<std::string> runs, keys;
  std::string out;
};

/// A run's directory, or a metrics.jsonl itself.
std::string metrics_file(const std::string& run) {
  if (file_exists(run)) return run;
  if (!directory_exists(run)) bad_input(run, "there is no run directory of that name");
  std::string file = run + "/metrics.jsonl";
  if (!file_exists(file)) bad_input(run, "a run directory holds a metrics.jsonl; this one has none");
  return file;
}

/// The last part of each path, or the whole of it where two runs share that.
std::vector<std::string> names_of(const std::vector<std::string>& runs) {
  std::vector<std::string> names;
  for (const auto& run : runs) {
    auto path = std::filesystem::weakly_canonical(run);
    std::string name = path.filename().string();
    auto same = [&](const std::string& other) {
      return std::filesystem::weakly_canonical(other).filename() == path.filename();
    };
    names.push_back(std::count_if(runs.begin(), runs.end(), same) > 1 ? run : name);
  }
  return names;
}

void plot(const PlotArguments& arguments) {
  std::vector<CurveRun> runs;
  auto names = names_of(arguments.runs);
  for (size_t i = 0; i < names.size(); ++i) runs.push_back(read_curves(metrics_file(arguments.runs[i]), names[i]));
  write_text(arguments.out, curves_svg(runs, arguments.keys));
}

}  // namespace

void add_plot(CLI::App& program) {
  auto arguments = std::make_shared<PlotArguments>();
  auto* command = program.add_subcommand("plot", "draw learning curves, runs compared");
  command->footer("Example: rft plot runs/grpo runs/rloo --out curves.svg --keys reward,kl");
  command->add_option("RUN_DIR", arguments->runs, "run directories, or metrics.jsonl files")->required();
  command->add_option("--out", arguments->out, "the drawing, an SVG file")->required();
  command->add_option("--keys", arguments->keys, "metrics to draw, separated by commas; default: those that say most")
      ->delimiter(',');
  command->callback([arguments] { plot(*arguments); });
}

}  // namespace rft::app
