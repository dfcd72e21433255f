#include "train/run_directory.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "rft/core/clock.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"
#include "rft/io/files.h"
#include "rft/train/run_files.h"

namespace rft {
namespace fs = std::filesystem;
namespace {

/// PATH.old-1, PATH.old-2, ...: the first that is free.
std::string free_name(const std::string& path) {
  for (int i = 1;; ++i)
    if (std::string name = cat(path, ".old-", i); !fs::exists(name)) return name;
}

nlohmann::json number(const Tensor& value) {
  double x = value.item<double>();
  return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json();
}

nlohmann::json sample_row(const Experience& batch, int64_t i) {
  nlohmann::json row = nlohmann::json::object();
  for (const char* name : {extra::prompt, extra::completion})
    if (batch.context.has_text(name)) row[name] = batch.context.text(name).at(i);
  if (batch.reward.defined()) row["reward"] = number(batch.reward[i].sum());
  if (batch.advantage.defined()) row["advantage"] = number(batch.advantage[i][0]);
  if (batch.extra.has_text(extra::reward_names)) {
    const auto components = batch.extra.tensor(extra::reward_components);
    std::istringstream names(batch.extra.text(extra::reward_names).at(i));
    std::string name;
    for (int64_t k = 0; std::getline(names, name, ','); ++k) row["rewards"][name] = number(components[i][k]);
  }
  return row;
}

}  // namespace

struct RunDirectory::Files {
  Files(const std::string& path, int64_t resumed_at)
      : metrics(path + "/metrics.jsonl", resumed_at), samples(path + "/samples.jsonl", resumed_at) {}
  JsonLines metrics, samples;
};

RunDirectory::RunDirectory(const Recipe& recipe, bool resume, bool dry_run, bool quiet)
    : path_(recipe.directory()), name_(recipe.run.name), config_yaml_(recipe.resolved().to_yaml()), resume_(resume), dry_run_(dry_run), quiet_(quiet) {}

RunDirectory::~RunDirectory() = default;

void RunDirectory::open(int64_t resumed_at) {
  if (dry_run_) return;
  if (!resume_ && fs::exists(path_ + "/metrics.jsonl")) {
    std::string aside = free_name(path_);
    std::error_code error;
    fs::rename(path_, aside, error);
    if (error) run_failed(path_, "the earlier run there can't be moved aside: ", error.message());
    log::info(cat("the earlier run in ", path_, " was moved to ", aside));
  }
  make_directories(path_);
  write_text(path_ + "/config.yaml", config_yaml_);
  files_ = std::make_unique<Files>(path_, resumed_at);
}

void RunDirectory::begin_stage(const std::string&, int64_t, int64_t, int64_t) {}

void RunDirectory::step(int64_t step, const std::string& stage, int64_t stage_step, const std::map<std::string, double>& values) {
  if (files_) files_->metrics.append(metrics_line(step, stage, stage_step, values));
}

void RunDirectory::samples(int64_t step, const std::string& stage, const Experience& batch, int64_t count) {
  if (!files_ || !batch.context.has_text(extra::completion)) return;
  for (int64_t i = 0; i < std::min(count, batch.rows()); ++i) {
    auto row = sample_row(batch, i);
    row["step"] = step, row["stage"] = stage;
    files_->samples.append(row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
}

void RunDirectory::close() {}

}  // namespace rft
