// rft plot: curves of given runs, and what it says of runs and metrics that are not there.
#include "support.h"

namespace rft::plot_test {
namespace {
using testing::Ran;
using testing::read_file;
using testing::TempDir;
using testing::write_file;
namespace fs = std::filesystem;

std::string quoted(const std::string& text) { return "'" + text + "'"; }

/// Two runs of three steps, "left" and "right".
class PlotCommand : public ::testing::Test {
 protected:
  PlotCommand() {
    for (const std::string name : {"left", "right"}) {
      fs::create_directory(dir_ / name);
      write_file(metrics(name), R"({"step":1,"stage":"grpo","stage_step":1,"loss":0.5,"reward":0.1}
{"step":2,"stage":"grpo","stage_step":2,"loss":null,"reward":0.2}
{"step":3,"stage":"grpo","stage_step":3,"loss":0.25,"reward":0.4}
)");
    }
  }
  std::string run(const std::string& name) const { return dir_ / name; }
  std::string metrics(const std::string& name) const { return dir_ / (name + "/metrics.jsonl"); }
  std::string svg() const { return dir_ / "curves.svg"; }
  Ran plot(const std::string& arguments) const { return testing::rft("plot " + arguments + " --out " + quoted(svg())); }
  /// The message of a plot that is the user's mistake and writes nothing.
  std::string refused(const std::string& arguments) const {
    Ran ran = plot(arguments);
    EXPECT_EQ(ran.code, 2) << arguments;
    EXPECT_FALSE(fs::exists(svg())) << arguments;
    return ran.err;
  }

 private:
  TempDir dir_;
};

TEST_F(PlotCommand, ComparesRunsByTheirDirectories) {
  ASSERT_EQ(plot(quoted(run("left")) + " " + quoted(run("right"))).code, 0);
  std::string drawing = read_file(svg());
  for (const char* text : {">left<", ">right<", ">loss<", ">reward<"})
    EXPECT_NE(drawing.find(text), std::string::npos) << text;
}

TEST_F(PlotCommand, DrawsOnlyTheGivenKeysOfAMetricsFile) {
  ASSERT_EQ(plot(quoted(metrics("left")) + " --keys reward").code, 0);
  std::string drawing = read_file(svg());
  EXPECT_NE(drawing.find(">reward<"), std::string::npos);
  EXPECT_EQ(drawing.find(">loss<"), std::string::npos);
}

TEST_F(PlotCommand, RunsOfTheSameNameAreToldApart) {
  fs::create_directories(run("left/right"));
  fs::copy_file(metrics("right"), metrics("left/right"));
  ASSERT_EQ(plot(quoted(run("right")) + " " + quoted(run("left/right"))).code, 0);
  EXPECT_NE(read_file(svg()).find("left/right<"), std::string::npos);
}

TEST_F(PlotCommand, NamesWhatIsNotThere) {
  EXPECT_NE(refused(quoted(run("middle"))).find("middle] there is no run directory"), std::string::npos);
  EXPECT_NE(refused(quoted(run("left")) + " --keys los").find("did you mean 'loss'?"), std::string::npos);
  fs::remove(metrics("right"));
  EXPECT_NE(refused(quoted(run("right"))).find("metrics.jsonl; this one has none"), std::string::npos);
}

TEST_F(PlotCommand, NamesTheLineThatIsNotJson) {
  write_file(metrics("left"), read_file(metrics("right")) + "broken\n");
  EXPECT_NE(refused(quoted(run("left"))).find("metrics.jsonl:4]"), std::string::npos);
}

TEST_F(PlotCommand, ADrawingThatCantBeWrittenIsARunsFailure) {
  Ran ran = testing::rft("plot " + quoted(run("left")) + " --out " + quoted(run("none/curves.svg")));
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("none/curves.svg]"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace rft::plot_test
