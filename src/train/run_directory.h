#pragma once
/// The run directory: config.yaml, metrics.jsonl, TensorBoard events, samples.jsonl, curves.svg, and the progress shown
/// meanwhile.
#include <map>
#include <memory>
#include <string>

#include "rft/core/experience.h"
#include "rft/train/progress.h"
#include "rft/train/recipe.h"

namespace rft {

class RunDirectory {
 public:
  /// Nothing is written before open(); nothing at all in a dry run. Throws UserError where open() would have to move
  /// aside what the recipe reads.
  RunDirectory(const Recipe& recipe, bool resume, bool dry_run, bool quiet);
  /// As close(), without errors.
  ~RunDirectory();

  const std::string& path() const { return path_; }
  std::string stage_path(const std::string& stage) const { return path_ + "/stages/" + stage; }

  /// Makes the directory and opens its files; records of steps after `resumed_at` are dropped. A run that is in the way
  /// and not resumed is moved to PATH.old-1, -2, ... Throws RunError where the directory can't be written.
  void open(int64_t resumed_at);
  void begin_stage(const std::string& stage, int64_t done, int64_t total, int64_t parameters);
  /// One line of metrics.jsonl, TensorBoard and the progress bar. `step` counts over all stages.
  void step(int64_t step, const std::string& stage, int64_t stage_step, const std::map<std::string, double>& values);
  /// Writes the first `count` rows of a rollout to samples.jsonl, and its images as samples/step-N.png.
  void samples(int64_t step, const std::string& stage, const Experience& batch, int64_t count);
  /// A contact sheet of images [N, 3, H, W]: samples/NAME.png.
  void pictures(const std::string& name, const Tensor& images);
  /// Draws curves.svg and ends the progress line.
  /// Writes samples/NAME.gif and NAME.png from frames [N, 3, H, W]; nothing where there are none.
  void episode(const std::string& name, const Tensor& frames);
  void close();

 private:
  struct Files;
  std::string path_, name_, config_yaml_;
  bool resume_, dry_run_;
  Progress progress_;
  std::unique_ptr<Files> files_;  ///< nullptr before open() and in a dry run
};

}  // namespace rft
