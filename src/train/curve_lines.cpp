#include "train/curve_lines.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <utility>

namespace rft {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
/// Fewer points are not smoothed: the line says it all.
constexpr size_t kSmoothedFrom = 12;

/// Points [begin, end) as at most `most` drawn ones; a bucket whose values are all missing is a gap.
DrawnLine thinned(const std::vector<CurvePoint>& points, size_t begin, size_t end, size_t most) {
  size_t n = end - begin, buckets = std::min(n, most);
  DrawnLine out;
  for (size_t b = 0; b < buckets; ++b) {
    DrawnPoint drawn{0, kNan, kNan, kNan, kNan};
    size_t from = begin + b * n / buckets, to = begin + (b + 1) * n / buckets, values = 0;
    double sum = 0;
    for (size_t i = from; i < to; ++i) {
      drawn.step += static_cast<double>(points[i].step) / static_cast<double>(to - from);
      double value = points[i].value;
      if (!std::isfinite(value)) continue;
      drawn.low = std::fmin(drawn.low, value), drawn.high = std::fmax(drawn.high, value);
      sum += value, ++values;
    }
    if (values) drawn.mean = sum / static_cast<double>(values);
    out.push_back(drawn);
  }
  return out;
}

double quantile(const std::vector<double>& sorted, double q) {
  return sorted[static_cast<size_t>(std::lround(q * static_cast<double>(sorted.size() - 1)))];
}

/// Where all but a few of the values lie.
Range bulk(const std::vector<double>& sorted) { return {quantile(sorted, 0.02), quantile(sorted, 0.98)}; }

/// The median of the means at most three places from i that are not missing; some must be there.
double local_median(const DrawnLine& line, size_t i) {
  std::vector<double> near;
  for (size_t j = i < 3 ? 0 : i - 3; j < std::min(line.size(), i + 4); ++j)
    if (!std::isnan(line[j].mean)) near.push_back(line[j].mean);
  auto middle = near.begin() + static_cast<ptrdiff_t>(near.size() / 2);
  std::nth_element(near.begin(), middle, near.end());
  return *middle;
}

/// The means, where a stray one, further from its neighbours than the bulk is wide, four times over, is what they are:
/// one spike would make a hill of the smoothed line. A stretch of such values is no stray.
std::vector<double> without_strays(const DrawnLine& line) {
  std::vector<double> out, sorted;
  for (const auto& point : line) {
    out.push_back(point.mean);
    if (!std::isnan(point.mean)) sorted.push_back(point.mean);
  }
  if (sorted.empty()) return out;
  std::sort(sorted.begin(), sorted.end());
  Range most = bulk(sorted);
  double far = 4 * (most.high - most.low);
  for (size_t i = 0; i < line.size() && far > 0; ++i) {
    if (std::isnan(line[i].mean)) continue;
    double median = local_median(line, i);
    if (std::abs(line[i].mean - median) > far) out[i] = median;
  }
  return out;
}

/// The line that fits the neighbours of point i best (Gaussian weights), read at i. Unlike a running average it does
/// not lag behind, and unlike a plain mean it keeps the slope at the ends.
double local_fit(const std::vector<double>& values, ptrdiff_t i, double width) {
  auto reach = static_cast<ptrdiff_t>(3 * width), n = static_cast<ptrdiff_t>(values.size());
  double w = 0, wx = 0, wxx = 0, wy = 0, wxy = 0;
  for (ptrdiff_t j = std::max<ptrdiff_t>(0, i - reach); j <= std::min(n - 1, i + reach); ++j) {
    double y = values[j], x = static_cast<double>(j - i) / width, weight = std::exp(-0.5 * x * x);
    if (std::isnan(y)) continue;
    w += weight, wx += weight * x, wxx += weight * x * x, wy += weight * y, wxy += weight * x * y;
  }
  double spread = w * wxx - wx * wx;
  return spread > 1e-9 * w * w ? (wxx * wy - wx * wxy) / spread : wy / w;
}

void smooth(DrawnLine& line) {
  bool few = line.size() < kSmoothedFrom;
  double width = std::max(1.0, static_cast<double>(line.size()) / 40);
  auto values = without_strays(line);
  for (size_t i = 0; i < line.size(); ++i)
    if (!std::isnan(line[i].mean))
      line[i].smooth = few ? line[i].mean : local_fit(values, static_cast<ptrdiff_t>(i), width);
}

std::string decimal(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value == 0 ? 0.0 : value);  // no -0
  return text;
}

/// What numbers up to `largest` are divided by, and what is written after them.
std::pair<double, std::string> unit_of(double largest) {
  if (largest == 0) return {1, ""};
  if (largest >= 1e9 && largest < 1e13) return {1e9, "G"};
  if (largest >= 1e6 && largest < 1e9) return {1e6, "M"};
  if (largest >= 1e4 && largest < 1e6) return {1e3, "k"};
  if (largest >= 1e-3 && largest < 1e4) return {1, ""};
  int exponent = static_cast<int>(std::floor(std::log10(largest) + 1e-9));
  return {std::pow(10.0, exponent), "e" + std::to_string(exponent)};
}

}  // namespace

std::vector<DrawnLine> drawn_lines(const CurveRun& run, const std::string& key, size_t most) {
  auto found = run.curves.find(key);
  if (found == run.curves.end()) return {};
  const auto& points = found->second;
  std::vector<DrawnLine> out;
  size_t begin = 0;
  for (size_t stage = 0; begin < points.size(); ++stage) {
    size_t end = points.size();
    if (stage + 1 < run.stages.size()) {
      auto before = [&](const CurvePoint& point) { return point.step < run.stages[stage + 1].step; };
      end = static_cast<size_t>(std::find_if_not(points.begin() + static_cast<ptrdiff_t>(begin), points.end(), before) -
                                points.begin());
    }
    if (end == begin) continue;
    out.push_back(thinned(points, begin, end, most));
    smooth(out.back());
    begin = end;
  }
  return out;
}

Range value_range(const std::vector<DrawnLine>& lines) {
  std::vector<double> ends;
  for (const auto& line : lines)
    for (const auto& point : line)
      if (!std::isnan(point.mean)) ends.push_back(point.low), ends.push_back(point.high);
  if (ends.empty()) return {0, 1};
  std::sort(ends.begin(), ends.end());
  Range all{ends.front(), ends.back()}, most = bulk(ends);
  if (most.high > most.low && all.high - all.low > 4 * (most.high - most.low)) {
    // The smoothed line always stays in sight.
    double room = (most.high - most.low) / 4;
    most.low -= room, most.high += room;
    for (const auto& line : lines)
      for (const auto& point : line)
        most.low = std::fmin(most.low, point.smooth), most.high = std::fmax(most.high, point.smooth);
    all = {std::max(all.low, most.low), std::min(all.high, most.high)};
  }
  double air = 0.06 * (all.high - all.low);
  // Differences below a double's own precision are no differences.
  if (!(air > 1e-12 * std::max(std::abs(all.low), std::abs(all.high))))
    air = all.low == 0 ? 1 : 0.1 * std::abs(all.low);
  return {all.low - air, all.high + air};
}

std::vector<double> ticks(Range range, int wanted, bool whole) {
  double rough = (range.high - range.low) / wanted;
  if (!std::isfinite(rough) || rough <= 0) return {};
  double power = std::pow(10.0, std::floor(std::log10(rough))), share = rough / power;
  double step = power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
  if (whole) step = std::max(step, 1.0);
  std::vector<double> out;
  for (double i = std::ceil(range.low / step); i * step <= range.high && out.size() < 50; ++i) out.push_back(i * step);
  return out;
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  if (ticks.empty()) return {};
  double largest = 0;
  for (double tick : ticks) largest = std::max(largest, std::abs(tick));
  auto [unit, suffix] = unit_of(largest);
  double step = ticks.size() > 1 ? (ticks[1] - ticks[0]) / unit : 1;
  int decimals = std::clamp(static_cast<int>(-std::floor(std::log10(step) + 1e-6)), 0, 9);
  std::vector<std::string> out;
  for (double tick : ticks) {
    // A tick of 0 comes out of the subtraction as 1e-17 sometimes.
    bool zero = std::abs(tick) < 1e-9 * largest;
    out.push_back(zero ? "0" : decimal(tick / unit, decimals) + suffix);
  }
  return out;
}

std::string short_value(double value) {
  if (!std::isfinite(value)) return "-";
  if (value == 0) return "0";
  auto [unit, suffix] = unit_of(std::abs(value));
  double scaled = value / unit, size = std::abs(scaled);
  return decimal(scaled, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 4) + suffix;
}

}  // namespace rft
