#include "rft/core/options.h"

#include "rft/core/registry.h"
#include "support.h"

namespace rft::options_test {
namespace {

using testing::message_of;

struct Sample {
  int64_t count = 3;
  double rate = 0.5;
  bool on = false;
  std::string mode = "fast";
  std::optional<double> cap;
  std::vector<std::string> names;
  std::vector<double> range;
  bool has_inner = false;
  double inner_value = 1;
  void visit(OptionVisitor& v) {
    v.option("count", count, "how many", at_least(1).in("rows"));
    v.option("rate", rate, "how fast", between(0, 1));
    v.option("on", on, "whether");
    v.option("mode", mode, "how", one_of({"fast", "slow"}));
    v.option("cap", cap, "limit", above(0));
    v.option("names", names, "names");
    v.option("range", range, "low and high");
    v.optional_block(
        "inner", has_inner, [this](OptionVisitor& in) { in.option("value", inner_value, "a value"); }, "more");
  }
};

std::string error_of(const std::string& yaml) {
  return message_of([&] { read_options<Sample>(Config::parse(yaml, "r.yaml")); });
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Options, ReadsEveryType) {
  auto s = read_options<Sample>(Config::parse(
      "count: 7\nrate: 1e-1\non: true\nmode: slow\ncap: 2\nnames: [a, '1']\nrange: [0, .inf]\ninner: {value: -3}\n"));
  EXPECT_EQ(s.count, 7);
  EXPECT_DOUBLE_EQ(s.rate, 0.1);
  EXPECT_TRUE(s.on);
  EXPECT_EQ(s.mode, "slow");
  EXPECT_EQ(s.cap, 2.0);
  EXPECT_EQ(s.names, (std::vector<std::string>{"a", "1"}));
  EXPECT_TRUE(std::isinf(s.range.at(1)));
  EXPECT_TRUE(s.has_inner);
  EXPECT_DOUBLE_EQ(s.inner_value, -3);
}

TEST(Options, KeepsDefaultsAndReadsNull) {
  auto s = read_options<Sample>(Config::parse("cap: null\n"));
  EXPECT_EQ(s.count, 3);
  EXPECT_FALSE(s.cap.has_value());
  EXPECT_FALSE(s.has_inner);
}

TEST(Options, NamesPlaceRuleAndValue) {
  EXPECT_EQ(error_of("count: 0\n"), "[r.yaml:1:8 count] must be >= 1; got 0");
  EXPECT_EQ(error_of("count: 1.5\n"), "[r.yaml:1:8 count] expected a whole number; got '1.5'");
  EXPECT_EQ(error_of("rate: fast\n"), "[r.yaml:1:7 rate] expected a number; got 'fast'");
  EXPECT_EQ(error_of("rate: '0.5'\n"), "[r.yaml:1:7 rate] expected a number; got '0.5'");
  EXPECT_EQ(error_of("rate: nan\n"), "[r.yaml:1:7 rate] must be [0, 1]; got nan");
  EXPECT_EQ(error_of("on: yes\n"), "[r.yaml:1:5 on] expected true or false; got 'yes'");
  EXPECT_EQ(error_of("cap: 0\n"), "[r.yaml:1:6 cap] must be > 0; got 0");
  EXPECT_TRUE(contains(error_of("mode: fasst\n"), "did you mean 'fast'?"));
  EXPECT_TRUE(contains(error_of("count: [1]\n"), "got a list"));
  EXPECT_TRUE(contains(error_of("count: 99999999999999999999\n"), "whole number"));
}

TEST(Options, SuggestsTheNearestNameForAnUnknownKey) {
  EXPECT_EQ(error_of("\ncuont: 4\n"), "[r.yaml:2:8 cuont] there is no option 'cuont'; did you mean 'count'?");
  EXPECT_TRUE(contains(error_of("inner: {valeu: 4}\n"), "did you mean 'value'?"));
  EXPECT_TRUE(contains(error_of("zzzzzzzzzz: 4\n"), "known: "));
}

TEST(Options, WriterGivesWhatTheReaderReads) {
  Sample s;
  s.cap = 1e-7, s.names = {"true", "x"}, s.range = {0.1}, s.has_inner = true, s.inner_value = 1.0 / 3;
  Config out = Config::map();
  OptionWriter writer(out);
  s.visit(writer);
  auto again = read_options<Sample>(Config::parse(out.to_yaml()));
  EXPECT_EQ(again.cap, s.cap);
  EXPECT_EQ(again.names, s.names);
  EXPECT_EQ(again.range, s.range);
  EXPECT_EQ(again.inner_value, s.inner_value);
}

TEST(Options, DescribesNameTypeDefaultRangeAndUnit) {
  auto rows = describe_options([](OptionVisitor& v) { Sample().visit(v); });
  EXPECT_EQ(rows.at(0).name, "count");
  EXPECT_EQ(rows.at(0).default_value, "3");
  EXPECT_EQ(rows.at(0).range, ">= 1");
  EXPECT_EQ(rows.at(0).unit, "rows");
  EXPECT_EQ(rows.at(3).range, "fast | slow");
  EXPECT_EQ(rows.back().name, "inner.value");
}

struct Shape {
  virtual ~Shape() = default;
  virtual double area() const = 0;
};
struct Square : Shape {
  struct Options {
    double side = 1;
    void visit(OptionVisitor& v) { v.option("side", side, "length", above(0)); }
  };
  explicit Square(Options o) : options(o) {}
  double area() const override { return options.side * options.side; }
  Options options;
};

TEST(Registry, MakesByTypeAndNamesTheNearest) {
  Registry<Shape> table;
  table.add<Square>("square", "four equal sides", "Euclid");
  EXPECT_DOUBLE_EQ(table.make(Config::parse("{type: square, side: 3}"))->area(), 9);
  EXPECT_EQ(table.resolve(Config::parse("{type: square}")).find("side")->text(), "1");
  auto error = [&](const std::string& yaml) { return message_of([&] { table.make(Config::parse(yaml, "r.yaml")); }); };
  EXPECT_TRUE(contains(error("{type: sqare}"), "did you mean 'square'?"));
  EXPECT_TRUE(contains(error("{side: 3}"), "`type` is needed"));
  EXPECT_TRUE(contains(error("{type: square, sid: 3}"), "did you mean 'side'?"));
}

}  // namespace
}  // namespace rft::options_test
