#include "rft/train/curves.h"

#include <algorithm>
#include <cmath>

#include "support.h"
#include "train/curve_lines.h"

namespace rft::curves_test {
namespace {
using testing::message_of;
using testing::TempDir;
using testing::write_file;

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

/// loss = f(step) over `steps` steps of one stage.
CurveRun run_of(int steps, const std::function<double(int)>& f) {
  CurveRun run{"run", {}, {}};
  for (int step = 1; step <= steps; ++step) run.add(step, "grpo", {{"loss", f(step)}});
  return run;
}

TEST(Curves, MetricsAreReadWithTheirStagesAndGaps) {
  TempDir dir;
  write_file(dir / "metrics.jsonl",
             "{\"step\":1,\"stage\":\"sft\",\"stage_step\":1,\"loss\":0.5}\n"
             "{\"step\":2,\"stage\":\"grpo\",\"stage_step\":1,\"loss\":null,\"note\":\"x\",\"reward\":1}\n"
             "{\"step\":3,\"stage\":\"grpo\",\"lo");
  CurveRun run = read_curves(dir / "metrics.jsonl", "a");
  ASSERT_EQ(run.curves.size(), 2u);
  ASSERT_EQ(run.curves["loss"].size(), 2u) << "the line that is still being written is left out";
  EXPECT_EQ(run.curves["loss"][0].value, 0.5);
  EXPECT_TRUE(std::isnan(run.curves["loss"][1].value));
  EXPECT_EQ(run.curves["reward"][0].step, 2);
  ASSERT_EQ(run.stages.size(), 2u);
  EXPECT_EQ(run.stages[1].name, "grpo");
  EXPECT_EQ(run.stages[1].step, 2);
}

TEST(Curves, ABadLineIsNamed) {
  TempDir dir;
  for (const char* bad : {"{\"step\":1", "3", "{\"loss\":1}"}) {
    write_file(dir / "metrics.jsonl", std::string("{\"step\":1}\n") + bad + "\n");
    std::string message = message_of([&] { read_curves(dir / "metrics.jsonl", "a"); });
    EXPECT_NE(message.find("metrics.jsonl:2]"), std::string::npos) << message;
  }
  EXPECT_NE(message_of([&] { read_curves(dir / "none.jsonl", "a"); }).find("none.jsonl"), std::string::npos);
}

TEST(Curves, EachMetricHasAPanelAndTheNamesAreEscaped) {
  CurveRun run = run_of(20, [](int i) { return i; });
  run.name = "a<b & \xff\x01";
  run.add(21, "grpo", {{"reward", 1}, {"x<y", 2}});
  std::string svg = curves_svg({run}, {"loss", "x<y"});
  EXPECT_EQ(count(svg, "<clipPath"), 2);
  EXPECT_NE(svg.find("x&lt;y"), std::string::npos);
  EXPECT_NE(svg.find("a&lt;b &amp; \xef\xbf\xbd "), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("legend\">"), std::string::npos) << "one run needs no legend";
  EXPECT_EQ(count(svg, "stroke-dasharray=\"3 3\""), 0) << "one stage has no border";
}

TEST(Curves, AnUnknownMetricIsNamedWithItsNeighbour) {
  std::string message = message_of([] { curves_svg({run_of(3, [](int) { return 1; })}, {"los"}); });
  EXPECT_EQ(message, "[keys] there is no metric 'los'; did you mean 'loss'?");
}

TEST(Curves, TheDefaultsAreWhatExistsWithEvaluationFirstAndAtMostNine) {
  CurveRun run{"run", {}, {}};
  run.add(1, "", {{"loss", 1}, {"eval/reward", 1}, {"kl", NAN}, {"odd", 1}});
  EXPECT_EQ(default_curve_keys({run}), (std::vector<std::string>{"eval/reward", "loss"}))
      << "a metric that is never finite shows nothing";
  CurveRun odd{"odd", {}, {}};
  for (char c = 'a'; c < 'z'; ++c) odd.add(1, "", {{std::string(1, c), 1}});
  EXPECT_EQ(default_curve_keys({odd}).size(), 9u);
  EXPECT_NE(curves_svg({}).find("No metrics yet"), std::string::npos);
}

TEST(Curves, SeveralRunsHaveALegendAndTheirOwnColours) {
  std::vector<CurveRun> runs(9, run_of(50, [](int i) { return std::sin(i); }));
  for (size_t i = 0; i < runs.size(); ++i) runs[i].name = "run-" + std::to_string(i);
  std::string svg = curves_svg(runs);
  for (const auto& run : runs) EXPECT_EQ(count(svg, ">" + run.name + "<"), 1);
  EXPECT_EQ(count(svg, "stroke-dasharray=\"7 3\""), 6) << "runs 8 and 9: legend, values, smoothed";
}

TEST(Curves, StageBordersAreMarkedAndNothingIsSmoothedAcrossThem) {
  CurveRun run{"run", {}, {}};
  for (int step = 1; step <= 100; ++step)
    run.add(step, step <= 50 ? "sft" : "grpo", {{"loss", step <= 50 ? 1.0 : 0.0}});
  std::string svg = curves_svg({run});
  EXPECT_EQ(count(svg, "stroke-dasharray=\"3 3\""), 1);
  EXPECT_EQ(count(svg, ">sft<") + count(svg, ">grpo<"), 2);
  auto lines = drawn_lines(run, "loss", 400);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NEAR(lines[0].back().smooth, 1, 1e-12);
  EXPECT_NEAR(lines[1].front().smooth, 0, 1e-12);
}

TEST(Curves, GapsBreakTheLineAndDontMoveItsNeighbours) {
  CurveRun run = run_of(100, [](int i) { return i > 40 && i < 60 ? NAN : 2.0 * i; });
  auto line = drawn_lines(run, "loss", 400).at(0);
  for (const auto& point : line) {
    if (point.step > 40 && point.step < 60) {
      EXPECT_TRUE(std::isnan(point.smooth));
    } else {
      EXPECT_NEAR(point.smooth, 2 * point.step, 1e-9) << "a straight line stays as it is, up to its ends";
    }
  }
  std::string svg = curves_svg({run});
  auto begin = svg.find("<path d=\"");
  EXPECT_EQ(count(svg.substr(begin, svg.find('"', begin + 9) - begin), "M"), 2);
}

TEST(Curves, ALongRunIsThinnedButKeepsItsExtremes) {
  auto line = drawn_lines(run_of(100000, [](int i) { return i == 31415 ? 100.0 : 1.0; }), "loss", 400).at(0);
  ASSERT_EQ(line.size(), 400u);
  EXPECT_EQ(std::max_element(line.begin(), line.end(), [](auto& a, auto& b) { return a.high < b.high; })->high, 100);
}

TEST(Curves, ASpikeMakesNoHillOfTheSmoothedLine) {
  for (int spike : {1, 100, 200}) {
    auto line = drawn_lines(run_of(200, [&](int i) { return i == spike ? 1e9 : i % 2; }), "loss", 400).at(0);
    for (const auto& point : line) EXPECT_NEAR(point.smooth, 0.5, 0.6) << "spike at " << spike;
    EXPECT_EQ(line.at(static_cast<size_t>(spike - 1)).high, 1e9) << "the value itself is still drawn";
  }
}

TEST(Curves, AStretchOfHighValuesStaysInTheSmoothedLine) {
  // A fall over the first steps of a long run, and a collapse in its last ones.
  auto fall = drawn_lines(run_of(400, [](int i) { return 10 * std::exp(-i / 2.0); }), "loss", 400).at(0);
  EXPECT_GT(fall.front().smooth, 1);
  auto collapse = [](int i) { return i > 395 ? 100.0 : i % 2; };
  auto lines = drawn_lines(run_of(400, collapse), "loss", 400);
  EXPECT_GT(lines.at(0).back().smooth, 50);
  EXPECT_GT(value_range(lines).high, 50);
}

TEST(Curves, AxesFitWhatIsShown) {
  auto range = [](const std::function<double(int)>& f) {
    return value_range(drawn_lines(run_of(200, f), "loss", 400));
  };
  Range one_stray = range([](int i) { return i == 1 ? 1e6 : i % 10; });
  EXPECT_LT(one_stray.high, 20) << "one stray value does not squeeze the rest";
  Range constant = range([](int) { return 5.0; });
  EXPECT_LT(constant.low, 5);
  EXPECT_GT(constant.high, 5);
  Range zero = range([](int) { return 0.0; });
  EXPECT_LT(zero.low, zero.high);
  Range nothing = range([](int) { return NAN; });
  EXPECT_LT(nothing.low, nothing.high);
}

TEST(Curves, TicksAreRound) {
  EXPECT_EQ(tick_labels(ticks({-0.06, 1.06}, 4, false)),
            (std::vector<std::string>{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(tick_labels(ticks({0, 2.1e-5}, 4, false)),
            (std::vector<std::string>{"0", "0.5e-5", "1.0e-5", "1.5e-5", "2.0e-5"}));
  EXPECT_EQ(tick_labels(ticks({9800, 14300}, 4, false)), (std::vector<std::string>{"10k", "11k", "12k", "13k", "14k"}));
  EXPECT_EQ(tick_labels(ticks({1, 3}, 5, true)), (std::vector<std::string>{"1", "2", "3"}));
  EXPECT_EQ(short_value(0.87314), "0.8731");
  EXPECT_EQ(short_value(-4.14e-6), "-4.14e-6");
  EXPECT_EQ(short_value(0), "0");
  EXPECT_EQ(short_value(3e16), "3.00e16");
  EXPECT_EQ(tick_labels(ticks({0, 3.1e16}, 3, false)), (std::vector<std::string>{"0", "1e16", "2e16", "3e16"}))
      << "a label stays inside its panel";
}

}  // namespace
}  // namespace rft::curves_test
