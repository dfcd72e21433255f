#pragma once
/// From a metric's points to what is drawn of them: stretches, thinned and smoothed; and round numbers for axes.
#include <string>
#include <vector>

#include "rft/train/curves.h"

namespace rft {

/// Neighbouring points drawn as one; all NaN: a gap.
struct DrawnPoint {
  double step, low, high, mean, smooth;
};
using DrawnLine = std::vector<DrawnPoint>;

/// One line a stage, so that nothing is smoothed across a stage's border; at most `most` points each.
std::vector<DrawnLine> drawn_lines(const CurveRun& run, const std::string& key, size_t most);

struct Range {
  double low, high;
};

/// What the values of `lines` need, with some air. Where a few stray values would squeeze the rest into a strip, they
/// are left out of it.
Range value_range(const std::vector<DrawnLine>& lines);

/// About `wanted` round numbers inside `range`.
std::vector<double> ticks(Range range, int wanted, bool whole);
/// Labels for ticks: "0.25", "20k", "5e-6", all with the same number of decimals.
std::vector<std::string> tick_labels(const std::vector<double>& ticks);
/// Three or four digits: "0.8731", "45.2", "1.23k", "4.1e-6".
std::string short_value(double value);

}  // namespace rft
