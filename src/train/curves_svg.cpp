#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/train/curves.h"
#include "train/curve_lines.h"

namespace rft {
namespace {

// Pixels.
constexpr double kPanelWidth = 360, kPanelHeight = 224, kGap = 14, kMargin = 20, kTitleHeight = 34, kLegendRow = 20;
constexpr double kLeft = 56, kRight = 14, kTop = 42, kBottom = 28;  // from a panel's edge to its plot
constexpr double kPlotWidth = kPanelWidth - kLeft - kRight, kPlotHeight = kPanelHeight - kTop - kBottom;
constexpr size_t kMostPoints = 400, kDotsUpTo = 40;

/// Okabe and Ito's colours, which colour-blind people tell apart too, without the yellow that is lost on white.
constexpr const char* kColours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333"};
constexpr const char* kDashes[] = {"", "7 3", "2 3"};

const char* colour(size_t run) { return kColours[run % std::size(kColours)]; }
/// Runs beyond the colours are told apart by dashes.
std::string dash(size_t run) {
  std::string pattern = kDashes[run / std::size(kColours) % std::size(kDashes)];
  return pattern.empty() ? "" : " stroke-dasharray=\"" + pattern + "\"";
}

std::string px(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

/// Text that XML takes: valid UTF-8, no control characters, markup escaped.
std::string escaped(const std::string& raw) {
  auto text = nlohmann::json::parse(nlohmann::json(raw).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
                  .get<std::string>();
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

double text_width(const std::string& text, double size) { return 0.56 * size * static_cast<double>(text.size()); }

std::string text_at(double x, double y, const std::string& attributes, const std::string& text) {
  return cat("<text x=\"", px(x), "\" y=\"", px(y), "\" ", attributes, ">", escaped(text), "</text>\n");
}

std::string line_at(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return cat("<line x1=\"", px(x1), "\" y1=\"", px(y1), "\" x2=\"", px(x2), "\" y2=\"", px(y2), "\" ", attributes,
             "/>\n");
}

/// A panel's plot, in its own coordinates.
struct Axes {
  Range x, y;
  double across(double step) const { return kLeft + (step - x.low) / (x.high - x.low) * kPlotWidth; }
  /// Far outside is as good as outside; coordinates stay small.
  double down(double value) const {
    return kTop + std::clamp((y.high - value) / (y.high - y.low), -1.0, 2.0) * kPlotHeight;
  }
};

/// The path of one line: `each` gives a point's values, from left to right. Gaps break it.
template <class Each>
std::string path_of(const DrawnLine& line, const Axes& axes, Each each) {
  std::string path;
  bool pen_down = false;
  for (const auto& point : line) {
    if (std::isnan(point.mean)) {
      pen_down = false;
      continue;
    }
    for (double value : each(point)) {
      path += cat(pen_down ? "L" : "M", px(axes.across(point.step)), " ", px(axes.down(value)));
      pen_down = true;
    }
  }
  return path;
}

std::string draw_path(const std::string& path, size_t run, const std::string& attributes) {
  return cat("<path d=\"", path, "\" fill=\"none\" stroke=\"", colour(run), "\" stroke-linejoin=\"round\" ", attributes,
             dash(run), "/>\n");
}

std::string draw_line(const DrawnLine& line, size_t run, const Axes& axes) {
  auto values = [](const DrawnPoint& p) {
    return p.low == p.high ? std::vector<double>{p.mean} : std::vector<double>{p.low, p.high};
  };
  auto smoothed = [](const DrawnPoint& p) { return std::vector<double>{p.smooth}; };
  std::string out = draw_path(path_of(line, axes, values), run, "stroke-width=\"1\" stroke-opacity=\"0.3\"");
  out += draw_path(path_of(line, axes, smoothed), run, "stroke-width=\"2\" stroke-linecap=\"round\"");
  if (line.size() > kDotsUpTo) return out;
  for (const auto& point : line)
    if (!std::isnan(point.mean))
      out += cat("<circle cx=\"", px(axes.across(point.step)), "\" cy=\"", px(axes.down(point.mean)),
                 "\" r=\"2.2\" fill=\"", colour(run), "\"/>\n");
  return out;
}

std::string draw_axes(const Axes& axes) {
  std::string out;
  auto heights = ticks(axes.y, 4, false), steps = ticks(axes.x, 5, true);
  auto height_labels = tick_labels(heights), step_labels = tick_labels(steps);
  for (size_t i = 0; i < heights.size(); ++i) {
    double y = axes.down(heights[i]);
    out += line_at(kLeft, y, kLeft + kPlotWidth, y, "stroke=\"#E9E9E9\"");
    out += text_at(kLeft - 6, y + 3.5, "class=\"tick\" text-anchor=\"end\"", height_labels[i]);
  }
  double floor = kTop + kPlotHeight;
  for (size_t i = 0; i < steps.size(); ++i) {
    double x = axes.across(steps[i]);
    out += line_at(x, floor, x, floor + 4, "stroke=\"#999999\"");
    out += text_at(x, floor + 16, "class=\"tick\" text-anchor=\"middle\"", step_labels[i]);
  }
  return out + line_at(kLeft, floor, kLeft + kPlotWidth, floor, "stroke=\"#999999\"");
}

/// The stages of all runs, each border once; none where no run has two.
std::vector<CurveStage> stage_borders(const std::vector<CurveRun>& runs) {
  std::set<std::pair<int64_t, std::string>> borders;
  bool several = false;
  for (const auto& run : runs) {
    several |= run.stages.size() > 1;
    for (const auto& stage : run.stages) borders.insert({stage.step, stage.name});
  }
  std::vector<CurveStage> out;
  if (several)
    for (const auto& [step, name] : borders) out.push_back({step, name});
  return out;
}

std::string draw_stages(const std::vector<CurveStage>& stages, const Axes& axes) {
  std::string out;
  for (size_t i = 0; i < stages.size(); ++i) {
    double x = std::max(axes.across(static_cast<double>(stages[i].step) - 0.5), kLeft);
    double end =
        i + 1 < stages.size() ? axes.across(static_cast<double>(stages[i + 1].step) - 0.5) : kLeft + kPlotWidth;
    if (x > kLeft) out += line_at(x, kTop - 10, x, kTop + kPlotHeight, "stroke=\"#888888\" stroke-dasharray=\"3 3\"");
    if (text_width(stages[i].name, 10) + 6 < end - x)
      out += text_at(x + 4, kTop - 4, "class=\"stage\"", stages[i].name);
  }
  return out;
}

/// The last value of the first run that has the metric.
std::string last_value(const std::vector<DrawnLine>& lines) {
  for (auto line = lines.rbegin(); line != lines.rend(); ++line)
    for (auto point = line->rbegin(); point != line->rend(); ++point)
      if (!std::isnan(point->mean)) return short_value(point->mean);
  return "";
}

struct Sheet {
  const std::vector<CurveRun>& runs;
  std::vector<CurveStage> stages;
  Range steps;
};

std::string draw_panel(const Sheet& sheet, const std::string& key, size_t number) {
  std::vector<DrawnLine> all;
  std::vector<std::vector<DrawnLine>> of_run;
  for (const auto& run : sheet.runs) {
    of_run.push_back(drawn_lines(run, key, kMostPoints));
    all.insert(all.end(), of_run.back().begin(), of_run.back().end());
  }
  Axes axes{sheet.steps, value_range(all)};
  std::string out = cat("<rect width=\"", px(kPanelWidth), "\" height=\"", px(kPanelHeight),
                        "\" rx=\"6\" fill=\"#FFFFFF\" stroke=\"#DDDDDD\"/>\n");
  out += text_at(14, 21, "class=\"name\"", key);
  if (sheet.runs.size() == 1)
    out += text_at(kPanelWidth - kRight, 21, cat("class=\"last\" text-anchor=\"end\" fill=\"", colour(0), "\""),
                   last_value(all));
  out += draw_axes(axes) + draw_stages(sheet.stages, axes);
  out += cat("<clipPath id=\"plot", number, "\"><rect x=\"", px(kLeft), "\" y=\"", px(kTop - 3), "\" width=\"",
             px(kPlotWidth + 3), "\" height=\"", px(kPlotHeight + 6), "\"/></clipPath>\n<g clip-path=\"url(#plot",
             number, ")\">\n");
  for (size_t run = 0; run < of_run.size(); ++run)
    for (const auto& line : of_run[run]) out += draw_line(line, run, axes);
  return out + "</g>\n";
}

Range step_range(const std::vector<CurveRun>& runs, const std::vector<std::string>& keys) {
  Range range{INFINITY, -INFINITY};
  for (const auto& run : runs)
    for (const auto& key : keys)
      if (auto found = run.curves.find(key); found != run.curves.end())
        for (const auto& point : found->second) {
          range.low = std::fmin(range.low, static_cast<double>(point.step));
          range.high = std::fmax(range.high, static_cast<double>(point.step));
        }
  if (range.low > range.high) return {0, 1};
  return range.low == range.high ? Range{range.low - 1, range.high + 1} : range;
}

/// Rows of names, each with its line, below the title; `height` is what they take.
std::string draw_legend(const std::vector<CurveRun>& runs, double width, double& height) {
  height = 0;
  if (runs.size() < 2) return "";
  std::string out;
  double x = kMargin, y = kTitleHeight + kLegendRow;
  for (size_t i = 0; i < runs.size(); ++i) {
    double needed = 30 + text_width(runs[i].name, 12) + 20;
    if (x > kMargin && x + needed > width - kMargin) x = kMargin, y += kLegendRow;
    out += line_at(x, y - 4, x + 22, y - 4, cat("stroke=\"", colour(i), "\" stroke-width=\"3\"", dash(i)));
    out += text_at(x + 28, y, "class=\"legend\"", runs[i].name);
    x += needed;
  }
  height = y - kTitleHeight + 4;
  return out;
}

void check_keys(const std::vector<CurveRun>& runs, const std::vector<std::string>& keys) {
  std::set<std::string> known;
  for (const auto& run : runs)
    for (const auto& [key, points] : run.curves) known.insert(key);
  for (const auto& key : keys)
    if (!known.count(key))
      bad_input("keys", "there is no metric '", key, "'", suggestion(key, {known.begin(), known.end()}));
}

constexpr char kStyle[] =
    "<style>text{font-family:'Helvetica Neue',Helvetica,Arial,'Liberation Sans',sans-serif}"
    ".title{font-size:17px;font-weight:bold;fill:#222222}.name{font-size:13px;font-weight:bold;fill:#222222}"
    ".last{font-size:13px;font-weight:bold}.tick{font-size:10.5px;fill:#666666}.stage{font-size:10px;fill:#777777}"
    ".legend{font-size:12px;fill:#333333}</style>\n";

}  // namespace

std::string curves_svg(const std::vector<CurveRun>& runs, const std::vector<std::string>& wanted) {
  check_keys(runs, wanted);
  std::vector<std::string> keys = wanted.empty() ? default_curve_keys(runs) : wanted;
  Sheet sheet{runs, stage_borders(runs), step_range(runs, keys)};
  size_t columns = keys.size() == 4 ? 2 : std::clamp<size_t>(keys.size(), 1, 3),
         rows = std::max<size_t>((keys.size() + columns - 1) / columns, 1);
  auto across = [&](size_t column) { return kMargin + static_cast<double>(column) * (kPanelWidth + kGap); };
  double width = across(columns) - kGap + kMargin, legend_height;
  std::string legend = draw_legend(runs, width, legend_height);
  double top = kMargin + kTitleHeight + legend_height;
  double height = top + static_cast<double>(rows) * (kPanelHeight + kGap) - kGap + kMargin;

  std::string out = cat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", px(width), "\" height=\"", px(height),
                        "\" viewBox=\"0 0 ", px(width), " ", px(height), "\">\n", kStyle,
                        "<rect width=\"100%\" height=\"100%\" fill=\"#FAFAFA\"/>\n");
  out +=
      text_at(kMargin, kTitleHeight, "class=\"title\"", runs.size() == 1 ? runs[0].name : cat(runs.size(), " runs")) +
      legend;
  out += text_at(width - kMargin, kTitleHeight, "class=\"tick\" text-anchor=\"end\"",
                 "over optimizer steps; bold: smoothed");
  for (size_t i = 0; i < keys.size(); ++i)
    out += cat("<g transform=\"translate(", px(across(i % columns)), " ",
               px(top + static_cast<double>(i / columns) * (kPanelHeight + kGap)), ")\">\n",
               draw_panel(sheet, keys[i], i), "</g>\n");
  if (keys.empty()) out += text_at(kMargin, top + 30, "class=\"legend\"", "No metrics yet.");
  return out + "</svg>\n";
}

}  // namespace rft
