#include "rft/select/mixture.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "app/commands.h"
#include "rft/core/config.h"
#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/train/curves.h"

namespace rft::app {
namespace {

struct MixtureArguments {
  std::vector<std::string> runs;
  std::string out, score = "eval/reward";
  double ridge = -1, least = 0;
  bool minimize = false;
};

/// What a run was trained on, and what it came to.
struct MixtureRun {
  std::string name;
  std::vector<std::string> files;
  std::vector<double> shares;
  double score = 0;
};

double number_in(const Config& node) {
  try {
    return std::stod(node.text());
  } catch (const std::exception&) {
    bad_input(node.place(), "must be a number; got '", node.text(), "'");
  }
}

/// The block `data` of the last stage whose rows come from several files in given shares.
const Config* mixed_data(const Config& config) {
  std::vector<const Config*> blocks;
  if (const Config* data = config.find("data")) blocks.push_back(data);
  if (const Config* stages = config.find("stages"))
    for (const auto& [key, stage] : stages->items())
      if (const Config* data = stage.find("data")) blocks.push_back(data);
  const Config* out = nullptr;
  for (const Config* data : blocks)
    if (const Config* weights = data->find("weights"); weights && weights->items().size() > 1) out = data;
  return out;
}

MixtureRun read_run(const std::string& directory, const std::string& key) {
  std::string file = directory + "/config.yaml";
  if (!file_exists(file)) bad_input(directory, "this is no run directory: there is no config.yaml");
  Config config = Config::load(file);
  const Config* data = mixed_data(config);
  if (!data) bad_input(file, "the run has no rows of several files with data.weights");
  MixtureRun out{directory, {}, {}, 0};
  for (const char* name : {"prompts", "train"})
    if (const Config* files = data->find(name))
      for (const auto& [none, one] : files->items()) out.files.push_back(one.text());
  for (const auto& [none, one] : data->find("weights")->items()) out.shares.push_back(number_in(one));
  CurveRun curves = read_curves(directory + "/metrics.jsonl", directory);
  auto found = curves.curves.find(key);
  if (found == curves.curves.end() || found->second.empty())
    bad_input(directory + "/metrics.jsonl", "there is no metric '", key, "'; choose one with --score");
  for (const CurvePoint& point : found->second)
    if (std::isfinite(point.value)) out.score = point.value;
  return out;
}

std::string shares_text(const std::vector<double>& shares) {
  double sum = 0;
  for (double x : shares) sum += x;
  std::vector<std::string> out;
  char text[32];
  for (double x : shares) std::snprintf(text, sizeof text, "%.4g", x / sum), out.push_back(text);
  return join(out, ", ");
}

void run_mixture(const MixtureArguments& arguments) {
  std::vector<MixtureRun> runs;
  for (const auto& directory : arguments.runs) runs.push_back(read_run(directory, arguments.score));
  std::vector<std::vector<double>> shares;
  std::vector<double> scores;
  for (const auto& run : runs) {
    if (run.files != runs[0].files)
      bad_input(run.name, "every run mixes the same files in the same order; ", runs[0].name, " has ",
                join(runs[0].files, ", "), ", this one ", join(run.files, ", "));
    shares.push_back(run.shares), scores.push_back(arguments.minimize ? -run.score : run.score);
  }
  MixtureFit fit = fit_mixture(shares, scores, arguments.ridge);
  std::vector<double> best = best_mixture(fit, arguments.least);
  double sign = arguments.minimize ? -1 : 1;
  std::printf("%-32s %s  %10s %10s\n", "run", "shares", arguments.score.c_str(), "fitted");
  for (size_t i = 0; i < runs.size(); ++i)
    std::printf("%-32s [%s]  %10.4f %10.4f\n", runs[i].name.c_str(), shares_text(shares[i]).c_str(), runs[i].score,
                sign * fit.predict(shares[i]));
  std::printf("ridge %g; at runs that are left out off by %.4f (R^2 %.3f)\n", fit.ridge, fit.left_out_error,
              fit.left_out_r2);
  std::printf("best [%s], fitted %.4f\n", shares_text(best).c_str(), sign * fit.predict(best));
  // Weights of data.weights are above 0: what a mixture leaves out is left out of its files too.
  std::vector<std::string> files;
  std::vector<double> kept;
  for (size_t k = 0; k < best.size(); ++k)
    if (best[k] > 1e-6) files.push_back("'" + runs[0].files[k] + "'"), kept.push_back(best[k]);
  std::string block = cat("data:\n  prompts: [", join(files, ", "), "]\n",
                          kept.size() > 1 ? "  weights: [" + shares_text(kept) + "]\n" : "");
  arguments.out.empty() ? void(std::printf("%s", block.c_str())) : write_text(arguments.out, block);
}

}  // namespace

void add_mixture(CLI::App& program) {
  auto arguments = std::make_shared<MixtureArguments>();
  auto* command = program.add_subcommand("mixture", "fit how much of each file to train on to what runs came to");
  command->footer(
      "Example: rft mixture runs/mix-1 runs/mix-2 runs/mix-3 --score eval/reward --out mixture.yaml\n"
      "Each run has rows of the same files with data.weights; a quadratic of their shares is fitted to the runs' last\n"
      "value of a metric (MoDoMoDo, arXiv:2505.24871), and the block `data` of the best shares is written.");
  command->add_option("RUN_DIR", arguments->runs, "run directories")->required();
  command->add_option("--score", arguments->score, "the metric that says how good a run is")->capture_default_str();
  command->add_flag("--minimize", arguments->minimize, "the least is best (a loss)");
  command
      ->add_option("--ridge", arguments->ridge,
                   "penalty that holds the fit near the runs' mean; without it the one that predicts runs that are "
                   "left out best")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--least", arguments->least, "the least share of a file")->check(CLI::Range(0.0, 1.0));
  command->add_option("--out", arguments->out, "where the block goes (YAML); without it to stdout");
  command->callback([arguments] { run_mixture(*arguments); });
}

}  // namespace rft::app
