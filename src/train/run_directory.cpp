#include "train/run_directory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "rft/core/clock.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"
#include "rft/io/files.h"
#include "rft/io/gif.h"
#include "rft/io/image.h"
#include "rft/ops/groups.h"
#include "rft/train/curves.h"
#include "rft/train/run_files.h"
#include "rft/train/tensorboard.h"

namespace rft {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

/// curves.svg is redrawn no more often, and drawing takes at most this share of a run's time.
constexpr double kCurvesSeconds = 10, kDrawingShare = 0.02;
/// Pictures on a contact sheet.
constexpr int64_t kPictures = 64;

std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// What a run leaves behind, whole or not.
bool holds_a_run(const std::string& path) {
  for (const char* name : {"/metrics.jsonl", "/checkpoints", "/stages", "/final"})
    if (fs::exists(path + name)) return true;
  return false;
}

bool is_inside(const fs::path& what, const fs::path& directory) {
  auto relative = fs::weakly_canonical(what).lexically_relative(fs::weakly_canonical(directory));
  return !relative.empty() && *relative.begin() != "..";
}

/// An earlier run is moved aside with all that lies in its directory: nothing that this run reads may lie there.
void refuse_to_move_inputs(const Recipe& recipe, const std::string& path) {
  std::vector<std::string> inputs{fs::current_path().string()};
  for (const auto& stage : recipe.stages) {
    inputs.insert(inputs.end(), stage.data.rows().begin(), stage.data.rows().end());
    inputs.push_back(stage.data.eval), inputs.push_back(stage.data.meta);
    for (const char* key : {"path", "adapter"})
      if (const Config* value = stage.policy.find(key); value && value->is_scalar()) inputs.push_back(value->text());
  }
  for (const auto& input : inputs)
    if (!input.empty() && is_inside(input, path))
      bad_input("run.output", "the earlier run in ", path, " would be moved aside, and with it ", input,
                ", which this run needs; choose another run.output, or go on with --resume");
}

/// PATH.old-1, PATH.old-2, ...: the first that is free.
std::string free_name(const std::string& path) {
  for (int i = 1;; ++i)
    if (std::string name = cat(path, ".old-", i); !fs::exists(fs::symlink_status(name))) return name;
}

void move_aside(const std::string& path) {
  std::string aside = free_name(path);
  std::error_code error;
  fs::rename(path, aside, error);
  if (error) run_failed(path, "the earlier run there can't be moved aside: ", error.message());
  log::info(cat("the earlier run in ", path, " was moved to ", aside));
}

/// The sum of `value`; null where it is not finite.
Json number(const Tensor& value) { return value.sum().item<double>(); }

Json rewards_by_name(const Experience& batch, int64_t i) {
  Json out = Json::object();
  Tensor components = batch.extra.tensor(extra::reward_components)[i];
  std::istringstream names(batch.extra.text(extra::reward_names).at(static_cast<size_t>(i)));
  std::string name;
  for (int64_t k = 0; k < components.size(0) && std::getline(names, name, ','); ++k) out[name] = number(components[k]);
  return out;
}

/// The mean advantage of row i's decisions; where every decision has the same it is that one.
Json mean_advantage(const Experience& batch, int64_t i) {
  Tensor advantage = batch.advantage[i];
  if (batch.mask.defined() && advantage.dim() == 1) advantage = advantage.masked_select(batch.mask[i]);
  return advantage.to(at::kDouble).mean().item<double>();
}

std::string sample_row(int64_t step, const std::string& stage, const Experience& batch, int64_t i) {
  Json row{{"step", step}, {"stage", stage}};
  for (const char* name : {extra::prompt, extra::completion})
    if (batch.context.has_text(name)) row[name] = batch.context.text(name).at(static_cast<size_t>(i));
  if (batch.reward.defined()) row["reward"] = number(ops::row_rewards(batch)[i]);
  if (batch.extra.has(extra::reward_components) && batch.extra.has_text(extra::reward_names))
    row["rewards"] = rewards_by_name(batch, i);
  if (batch.advantage.defined()) row["advantage"] = mean_advantage(batch, i);
  return row.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// What a progress line has room for, under short names.
ProgressValues shown(const std::map<std::string, double>& values) {
  static const std::pair<const char*, const char*> names[] = {
      {"reward", "reward"}, {"rewards/accuracies", "accuracy"}, {"loss", "loss"},
      {"kl", "kl"},         {"eval/reward", "eval reward"},     {"tokens_per_second", "tokens/s"}};
  ProgressValues out;
  for (const auto& [metric, label] : names)
    if (auto found = values.find(metric); found != values.end()) out.emplace_back(label, found->second);
  return out;
}

}  // namespace

struct RunDirectory::Files {
  Files(const std::string& path, const std::string& name, int64_t resumed_at)
      : metrics(path + "/metrics.jsonl", resumed_at),
        samples(path + "/samples.jsonl", resumed_at),
        events((keep_events(path, resumed_at), path)),
        curves(read_curves(path + "/metrics.jsonl", name)),
        curves_file(path + "/curves.svg") {}

  void draw() {
    Clock drawing;
    write_text(curves_file, curves_svg({curves}));
    draw_after = std::max(kCurvesSeconds, drawing.seconds() / kDrawingShare);
    since_drawn.lap(), drawn = true;
  }

  JsonLines metrics, samples;
  TensorBoardWriter events;
  CurveRun curves;
  std::string curves_file;
  Clock since_drawn;
  double draw_after = kCurvesSeconds;
  bool drawn = false;  ///< curves.svg shows everything
};

RunDirectory::RunDirectory(const Recipe& recipe, bool resume, bool dry_run, bool quiet)
    : path_(without_trailing_slashes(recipe.directory())),
      name_(recipe.run.name),
      config_yaml_(recipe.resolved().to_yaml()),
      resume_(resume),
      dry_run_(dry_run),
      progress_(recipe.run.name, quiet) {
  if (!resume_ && !dry_run_ && holds_a_run(path_)) refuse_to_move_inputs(recipe, path_);
}

RunDirectory::~RunDirectory() {
  try {
    close();
  } catch (const std::exception& error) {  // the run is ending for a reason that matters more
    log::debug(error.what());
  }
}

void RunDirectory::open(int64_t resumed_at) {
  if (dry_run_) return;
  if (!resume_ && holds_a_run(path_)) move_aside(path_);
  make_directories(path_);
  write_text(path_ + "/config.yaml", config_yaml_);
  files_ = std::make_unique<Files>(path_, name_, resumed_at);
  files_->events.text("config", resumed_at, "```yaml\n" + config_yaml_ + "\n```");
  files_->events.flush();
}

void RunDirectory::begin_stage(const std::string& stage, int64_t done, int64_t total, int64_t parameters) {
  progress_.finish();
  log::info(cat(stage, ": ", total, total == 1 ? " step" : " steps", ", ", parameters, " trained parameters"));
  progress_.begin(stage, done, total);
}

void RunDirectory::step(int64_t step, const std::string& stage, int64_t stage_step,
                        const std::map<std::string, double>& values) {
  if (files_) {
    files_->metrics.append(metrics_line(step, stage, stage_step, values));
    for (const auto& [name, value] : values) files_->events.scalar(name, step, value);
    files_->events.flush();
    files_->curves.add(step, stage, values), files_->drawn = false;
    if (files_->since_drawn.seconds() >= files_->draw_after) files_->draw();
  }
  progress_.update(stage_step, shown(values));
}

void RunDirectory::samples(int64_t step, const std::string& stage, const Experience& batch, int64_t count) {
  if (!files_) return;
  for (int64_t i = 0; i < std::min(count, batch.rows()); ++i) files_->samples.append(sample_row(step, stage, batch, i));
  if (batch.extra.has(extra::image)) pictures(cat("step-", step), batch.extra.tensor(extra::image));
}

void RunDirectory::pictures(const std::string& name, const Tensor& images) {
  if (!files_ || !images.defined() || images.size(0) == 0) return;
  make_directories(path_ + "/samples");
  write_png(path_ + "/samples/" + name + ".png",
            contact_sheet(images.narrow(0, 0, std::min(kPictures, images.size(0)))));
}

void RunDirectory::episode(const std::string& name, const Tensor& frames) {
  if (!files_ || !frames.defined() || frames.size(0) == 0) return;
  make_directories(path_ + "/samples");
  write_episode(path_ + "/samples/" + name, frames);
}

void RunDirectory::close() {
  progress_.finish();
  if (files_ && !files_->drawn) files_->draw();
}

}  // namespace rft
