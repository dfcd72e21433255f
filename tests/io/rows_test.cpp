#include "rft/io/rows.h"

#include "support.h"

namespace rft::rows_test {
namespace {

using testing::message_of;
using testing::TempDir;
using testing::write_file;

Rows load(const std::string& content) {
  TempDir dir;
  write_file(dir / "d.jsonl", content);
  return Rows::load(dir / "d.jsonl");
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Rows, BlankLinesAreSkippedAndLineNumbersStayRight) {
  Rows rows = load("\xEF\xBB\xBF{\"a\": 1}\r\n\n  \t\r\n{\"a\": \"\xC3\xA9\"}");
  ASSERT_EQ(rows.size(), 2);
  EXPECT_EQ(rows.where(0), rows.file() + ":1");
  EXPECT_EQ(rows.where(1), rows.file() + ":4");
  EXPECT_EQ(rows.text(1, "a"), "\xC3\xA9");
  EXPECT_EQ(rows.json(0), "{\"a\": 1}");
}

TEST(Rows, ColumnsKeepTheirTypes) {
  Rows rows = Rows::parse(
      {R"({"s": "x\n\u00e9\ud83d\ude00", "n": -7, "f": 1.5, "l": [1, 2], "o": {"b": 1, "a": null}, "z": null})"});
  EXPECT_EQ(rows.text(0, "s"), "x\n\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(rows.integer(0, "n"), -7);
  EXPECT_EQ(rows.text(0, "f"), "1.5");
  EXPECT_EQ(rows.ints(0, "l"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(rows.text(0, "o"), R"({"b":1,"a":null})");
  EXPECT_EQ(rows.text(0, "z"), "null");
  EXPECT_TRUE(rows.has(0, "z"));
  EXPECT_FALSE(rows.has(0, "y"));
}

TEST(Rows, AWrongTypeIsNamedWithItsLine) {
  Rows rows = Rows::parse({"{\"a\": 1.5, \"b\": [1, true], \"c\": 9223372036854775808}"}, "d");
  for (auto body : std::vector<std::function<void()>>{[&] { rows.string(0, "a"); }, [&] { rows.integer(0, "a"); },
                                                      [&] { rows.ints(0, "a"); }, [&] { rows.ints(0, "b"); },
                                                      [&] { rows.integer(0, "c"); }}) {
    EXPECT_TRUE(contains(message_of(body), "[d:1]"));
  }
}

TEST(Rows, AMissingColumnIsAnErrorWithTheNearestName) {
  Rows rows = Rows::parse({R"({"prompt": "a"})", "", R"({"prompts": "b"})"}, "d");
  std::string message = message_of([&] { rows.require("prompt"); });
  EXPECT_TRUE(contains(message, "[d:3]")) << message;
  EXPECT_TRUE(contains(message, "'prompts'")) << message;
  EXPECT_TRUE(contains(message_of([&] { rows.text(0, "answer"); }), "[d:1]"));
}

TEST(Rows, BrokenRowsAreRefusedWithLineAndColumn) {
  EXPECT_TRUE(contains(message_of([] { Rows::parse({"{}", "{\"a\": tru}"}, "d"); }), "[d:2:10]"));
  for (std::string text : {"[1]", "1", "\"x\"", "{\"a\": 1} {}", "{\"a\": 1,}", "{\"a\": \"\xff\"}",
                           "{\"a\": \"\xed\xa0\x80\"}", "{\"a\": \"\\ud800\"}", "{\"a\": NaN}", "{\"a\": 1e999}",
                           "{\"a\": \"x", "{", "\xEF\xBB", "nul", "{'a': 1}", "{\"a\": \"\t\"}"}) {
    EXPECT_TRUE(contains(message_of([&] { Rows::parse({text}, "d"); }), "[d:1")) << text;
  }
  EXPECT_THROW(Rows::parse({std::string("{\"a\": 1}\0", 9)}, "d"), UserError);
}

TEST(Rows, NestingIsLimitedTo64) {
  auto nested = [](size_t n) { return "{\"a\": " + std::string(n, '[') + std::string(n, ']') + "}"; };
  EXPECT_EQ(Rows::parse({nested(63)}).size(), 1);
  EXPECT_TRUE(contains(message_of([&] { Rows::parse({nested(64)}, "d"); }), "at most 64"));
  EXPECT_THROW(Rows::parse({nested(1000000)}), UserError);
  EXPECT_EQ(Rows::parse({"{\"a\": \"" + std::string(100, '[') + "\\\"[\"}"}).size(), 1);
}

TEST(Rows, EmptyDataIsAnError) {
  for (std::string content : {"", "\n\n", "  \n"}) EXPECT_THROW(load(content), UserError);
  EXPECT_THROW(Rows::parse({}), UserError);
  EXPECT_THROW(Rows::load("/nowhere/x.jsonl"), UserError);
  EXPECT_THROW(Rows::load("/nowhere/x.parquet"), UserError);
  EXPECT_TRUE(contains(message_of([] { Rows::load("x.jsonl.zst"); }), "unpack"));
}

TEST(Rows, SelectKeepsLinesAndColumnsFillGaps) {
  Rows rows = Rows::parse({R"({"a": "x"})", R"({"b": 2})", R"({"a": "z"})"}, "d");
  Rows some = rows.select({2, 1, 2});
  ASSERT_EQ(some.size(), 3);
  EXPECT_EQ(some.where(0), "d:3");
  Fields fields = some.columns();
  EXPECT_EQ(fields.text("a"), (std::vector<std::string>{"z", "", "z"}));
  EXPECT_EQ(fields.text("b"), (std::vector<std::string>{"", "2", ""}));
  EXPECT_TRUE(some.file_sizes().empty());
  EXPECT_THROW(rows.select({3}), RunError);
  EXPECT_THROW(rows.json(-1), RunError);
}

TEST(Rows, SelectCountsWhatIsLeftOfEachFile) {
  testing::TempDir dir;
  testing::write_file(dir / "a.jsonl", "{}\n{}\n{}\n");
  testing::write_file(dir / "b.jsonl", "{}\n{}\n");
  Rows rows = Rows::load({dir / "a.jsonl", dir / "b.jsonl"});
  EXPECT_EQ(rows.file_sizes(), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(rows.select({0, 2, 3}).file_sizes(), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(rows.select({4}).file_sizes(), (std::vector<int64_t>{0, 1}));
}

TEST(Rows, TheFingerprintFollowsTheContent) {
  std::vector<std::string> lines{R"({"a": 1})", R"({"a": 2})"};
  std::string print = Rows::parse(lines).fingerprint();
  EXPECT_EQ(print.size(), 16u);
  EXPECT_EQ(Rows::parse(lines, "other").fingerprint(), print);
  EXPECT_NE(Rows::parse({lines[1], lines[0]}).fingerprint(), print);
  EXPECT_NE(Rows::parse({lines[0]}).fingerprint(), print);
}

}  // namespace
}  // namespace rft::rows_test
