#include "rft/train/progress.h"

#include <algorithm>
#include <utility>

#include "rft/core/log.h"
#include "support.h"

namespace rft::progress_test {
namespace {

/// A screen and a clock of our own.
struct Screen {
  std::string text;
  double now = 100;
  int columns = 80;

  ProgressOutput output(bool terminal) {
    return {terminal, [this] { return columns; }, [this] { return now; },
            [this](const std::string& more) { text += more; }};
  }
  /// What was written since the last call.
  std::string take() { return std::exchange(text, ""); }
};

int lines_in(const std::string& text) { return static_cast<int>(std::count(text.begin(), text.end(), '\n')); }

ProgressState halfway() {
  return {"arithmetic", "grpo", "steps", 50,
          100,          60,     60,      {{"reward", 0.53125}, {"loss", -0.00312}, {"tokens/s", 12345}}};
}

TEST(Progress, ABarShowsNameStageCountTimesAndValues) {
  EXPECT_EQ(
      progress_bar_line(halfway(), 120),
      "arithmetic grpo [===============>              ] 50/100 01:00<01:00 reward 0.531 loss -0.00312 tokens/s 12.3k");
}

TEST(Progress, ALineIsNeverWiderThanTheTerminal) {
  auto state = halfway();
  state.name = "l\xc3\xa4ngerer name";
  for (int width = 1; width < 130; ++width) {
    std::string line = progress_bar_line(state, width);
    auto columns = std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });
    EXPECT_LE(columns, width) << line;
  }
  std::string narrow = progress_bar_line(state, 60);
  EXPECT_EQ(narrow.find("tokens/s"), std::string::npos) << "values go first, from the last: " << narrow;
  EXPECT_NE(narrow.find("50/100"), std::string::npos);
  EXPECT_NE(narrow.find('['), std::string::npos) << "the bar stays while there is room: " << narrow;
  std::string narrowest = progress_bar_line(state, 12);
  EXPECT_NE(narrowest.find("50/100"), std::string::npos) << "the name goes before the count: " << narrowest;
}

TEST(Progress, ANameCantMoveTheCursor) {
  auto state = halfway();
  state.name = "a\nb\033[2J";
  std::string line = progress_bar_line(state, 100);
  EXPECT_EQ(line.find_first_of("\n\033"), std::string::npos);
}

TEST(Progress, ATerminalsLineIsRedrawnInPlaceAtMostTenTimesASecond) {
  Screen screen;
  Progress progress("run", screen.output(true));
  progress.begin("sft", 0, 1000);
  screen.take();
  for (int i = 1; i <= 500; ++i) screen.now += 0.01, progress.update(i);
  std::string drawn = screen.take();
  auto times = std::count(drawn.begin(), drawn.end(), '\r');
  EXPECT_GE(times, 40);
  EXPECT_LE(times, 51);
  EXPECT_EQ(lines_in(drawn), 0);
  progress.update(1000);
  EXPECT_NE(screen.text.find("1000/1000"), std::string::npos) << "the last is always shown";
  progress.finish();
  EXPECT_EQ(screen.text.back(), '\n');
  screen.take();
  progress.finish();
  EXPECT_EQ(screen.text, "") << "an ended line is not ended twice";
}

TEST(Progress, WithoutATerminalPlainLinesComeNowAndThenAndAtTheEnd) {
  Screen screen;
  Progress progress("run", screen.output(false));
  progress.begin("sft", 0, 100);
  for (int i = 1; i <= 99; ++i) screen.now += 0.2, progress.update(i, {{"loss", 2.0}});
  std::string text = screen.take();
  EXPECT_GE(lines_in(text), 3);
  EXPECT_LE(lines_in(text), 5);
  EXPECT_EQ(text.find_first_of("\r\033"), std::string::npos);
  EXPECT_NE(text.find("run sft: 1/100 steps, 00:00 elapsed, 00:20 left, loss 2\n"), std::string::npos) << text;
  screen.now += 0.2;
  progress.update(100, {{"loss", 1.5}});
  EXPECT_EQ(screen.take(), "run sft: 100/100 steps, 00:20 elapsed, loss 1.5\n");
  progress.finish();
  EXPECT_EQ(screen.text, "");
}

TEST(Progress, WhatWasNotShownYetIsShownAtTheEnd) {
  Screen screen;
  {
    Progress progress("run", screen.output(false));
    progress.begin("sft", 0, 100);
    progress.update(1), screen.take();
    progress.update(2);
    EXPECT_EQ(screen.text, "");
  }
  EXPECT_EQ(screen.text.rfind("run sft: 2/100", 0), 0u) << screen.text;
}

TEST(Progress, TheTimeLeftCountsOnlyWhatThisProcessDid) {
  Screen screen;
  Progress progress("run", screen.output(false));
  progress.begin("grpo", 90, 100);
  screen.now += 10;
  progress.update(95);
  EXPECT_NE(screen.text.find("00:10 elapsed, 00:10 left"), std::string::npos) << screen.text;
}

TEST(Progress, AnUnknownTotalHasNoBar) {
  Screen screen;
  Progress progress("generate", screen.output(true));
  progress.begin("", 0, 0, "rows");
  screen.now += 1, screen.take();
  progress.update(7, {{"tokens/s", 1500}});
  EXPECT_EQ(screen.text, "\rgenerate 7 00:01 tokens/s 1.5k\033[K");
}

TEST(Progress, TheLineStepsAsideForLogMessages) {
  Screen screen;
  Progress progress("run", screen.output(true));
  progress.begin("sft", 0, 10);
  screen.take();
  ::testing::internal::CaptureStderr();
  log::warn("something");
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("something"), std::string::npos);
  EXPECT_EQ(screen.take(), "\r\033[K");
  log::debug("not shown");
  EXPECT_EQ(screen.take(), "");
  screen.now += 1;
  progress.update(1);
  EXPECT_NE(screen.take().find("1/10"), std::string::npos);
}

TEST(Progress, QuietShowsNothing) {
  ::testing::internal::CaptureStderr();
  {
    Progress progress("run", true);
    progress.begin("sft", 0, 10);
    progress.update(10);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace rft::progress_test
