#pragma once
/// Learning curves: what a run's metrics.jsonl says over its steps, and a drawing of it.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rft {

struct CurvePoint {
  int64_t step;
  double value;  ///< not finite: a gap
};

/// Where a stage begins: its first step.
struct CurveStage {
  int64_t step;
  std::string name;
};

/// One run's metrics. Steps come in order, as they do in metrics.jsonl.
struct CurveRun {
  std::string name;
  std::map<std::string, std::vector<CurvePoint>> curves;
  std::vector<CurveStage> stages;

  /// Adds one row; `stage` may be empty.
  void add(int64_t step, const std::string& stage, const std::map<std::string, double>& values);
};

/// Reads a metrics.jsonl: every number of a row is a metric, null is a gap, anything else is passed over; a last line
/// without its end is still being written and is left out. Throws UserError with file:line where another line is no
/// JSON object with a "step".
CurveRun read_curves(const std::string& file, const std::string& name);

/// The metrics of `runs` that say most, at most nine: the evaluation, rewards and losses first.
std::vector<std::string> default_curve_keys(const std::vector<CurveRun>& runs);

/// An SVG with one panel for each of `keys` (empty: default_curve_keys): values thin, a smoothed line bold, the borders
/// of stages marked, and a legend where there are several runs. Throws UserError where no run has one of `keys`.
std::string curves_svg(const std::vector<CurveRun>& runs, const std::vector<std::string>& keys = {});

}  // namespace rft
