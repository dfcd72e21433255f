#include "rft/train/run_files.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "support.h"

namespace rft::run_files_test {
namespace {
using testing::message_of;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

TEST(RunFiles, RowsAreThereAsSoonAsTheyAreWritten) {
  TempDir dir;
  JsonLines lines(dir / "a.jsonl", 0);
  lines.append(R"({"step":1})");
  EXPECT_EQ(read_file(dir / "a.jsonl"), "{\"step\":1}\n");
  lines.append(R"({"step":2})");
  EXPECT_EQ(read_file(dir / "a.jsonl"), "{\"step\":1}\n{\"step\":2}\n");
}

TEST(RunFiles, AResumedRunLosesLaterRowsAndTheHalfWrittenOne) {
  TempDir dir;
  write_file(dir / "a.jsonl", "{\"step\":1,\"x\":0.1}\n{\"step\":3}\n{\"step\":2}\n{\"step\":2,\"x");
  JsonLines lines(dir / "a.jsonl", 2);
  lines.append(R"({"step":3,"new":true})");
  EXPECT_EQ(read_file(dir / "a.jsonl"), "{\"step\":1,\"x\":0.1}\n{\"step\":2}\n{\"step\":3,\"new\":true}\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1) << "no temporary file stays";
}

TEST(RunFiles, NumbersReadBackBitForBit) {
  std::map<std::string, double> values{{"a", 0.1},  {"b", -0.0},     {"c", 5e-324},
                                       {"d", 1e22}, {"e", -1.0 / 3}, {"f", 3.0}};
  auto row = nlohmann::json::parse(metrics_line(1, "s\"ft", 1, values));
  EXPECT_EQ(row["stage"], "s\"ft");
  for (const auto& [name, value] : values) {
    double back = row[name].get<double>();
    EXPECT_EQ(std::memcmp(&back, &value, sizeof value), 0) << name;
  }
  EXPECT_EQ(metrics_line(2, "grpo", 1, {{"z", NAN}, {"a", std::numeric_limits<double>::infinity()}}),
            R"({"step":2,"stage":"grpo","stage_step":1,"a":null,"z":null})");
}

TEST(RunFiles, ADamagedRowIsNamed) {
  TempDir dir;
  for (const char* bad : {"{\"step\":", "[1]", "{\"loss\":1}", "{\"step\":\"2\"}", ""}) {
    write_file(dir / "a.jsonl", std::string("{\"step\":1}\n") + bad + "\n{\"step\":2}\n");
    std::string message = message_of([&] { keep_json_lines(dir / "a.jsonl", 5); });
    EXPECT_NE(message.find("a.jsonl:2]"), std::string::npos) << message;
  }
}

TEST(RunFiles, AFullDiskIsAnErrorThatNamesTheFile) {
  AppendedFile full("/dev/full", AppendedFile::Open::append);
  std::string message = message_of<RunError>([&] { full.append("x"); });
  EXPECT_NE(message.find("[/dev/full]"), std::string::npos) << message;
  EXPECT_NE(message.find("No space left"), std::string::npos) << message;
}

TEST(RunFiles, ANewFileReplacesNone) {
  TempDir dir;
  write_file(dir / "events", "old");
  EXPECT_THROW(AppendedFile(dir / "events", AppendedFile::Open::new_file), RunError);
  EXPECT_EQ(read_file(dir / "events"), "old");
  EXPECT_THROW(AppendedFile(dir / "none/events", AppendedFile::Open::append), RunError);
}

}  // namespace
}  // namespace rft::run_files_test
