#include "rft/train/tensorboard.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <vector>

#include "support.h"

namespace rft::tensorboard_test {
namespace {
namespace fs = std::filesystem;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

/// A second reading of the format, from its description: every record's data, its two checksums checked.
std::vector<std::string> records(const std::string& file) {
  std::string content = read_file(file);
  std::vector<std::string> out;
  auto masked = [](std::string_view data) {
    uint32_t crc = crc32c(data);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  };
  for (size_t at = 0; at < content.size();) {
    uint64_t size = 0;
    uint32_t crc = 0;
    std::memcpy(&size, content.data() + at, 8), std::memcpy(&crc, content.data() + at + 8, 4);
    EXPECT_EQ(crc, masked(std::string_view(content).substr(at, 8)));
    out.push_back(content.substr(at + 12, size));
    std::memcpy(&crc, content.data() + at + 12 + size, 4);
    EXPECT_EQ(crc, masked(out.back()));
    at += 16 + size;
  }
  return out;
}

std::vector<std::string> files_in(const TempDir& dir) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(dir.path())) out.push_back(entry.path().string());
  std::sort(out.begin(), out.end());
  return out;
}

TEST(TensorBoard, TheChecksumIsTheStandardsOwn) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
}

TEST(TensorBoard, AScalarIsOneEventByteForByte) {
  TempDir dir;
  TensorBoardWriter writer(dir.path());
  writer.scalar("loss", 300, 1.5);
  writer.flush();
  auto found = records(writer.file());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].substr(11), std::string("\x1a\x0d") + "brain.Event:2");  // after 9 bytes of time and step 0
  const char expected[] = "\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f";
  EXPECT_EQ(found[1].substr(9), std::string(expected, sizeof expected - 1));
}

TEST(TensorBoard, AResumedRunsLaterValuesDontAppearTwice) {
  TempDir dir;
  {
    TensorBoardWriter first(dir.path());
    for (int step = 1; step <= 5; ++step) first.scalar("loss", step, step);
    first.text("config", 0, "a: 1");
  }
  keep_events(dir.path(), 3);
  EXPECT_EQ(records(files_in(dir).at(0)).size(), 5u) << "the version, three steps and the text";
  TensorBoardWriter second(dir.path());
  auto files = files_in(dir);
  ASSERT_EQ(files.size(), 2u) << "one file a writer, none left over";
  EXPECT_EQ(files[1], second.file()) << "and TensorBoard reads the newer one last";
}

TEST(TensorBoard, WhatAKilledRunLeftHalfWrittenGoes) {
  TempDir dir;
  std::string file;
  {
    TensorBoardWriter writer(dir.path());
    writer.scalar("loss", 1, 1), writer.scalar("loss", 2, 2);
    file = writer.file();
  }
  std::string whole = read_file(file);
  for (size_t size = whole.size() - 1; size > whole.size() - 30; --size) {
    write_file(file, whole.substr(0, size));
    keep_events(dir.path(), 10);
    EXPECT_EQ(records(file).size(), 2u);
  }
  std::string huge = whole;
  huge.replace(0, 8, std::string(8, '\xFF'));
  write_file(file, huge);
  keep_events(dir.path(), 10);
  EXPECT_EQ(read_file(file), "");
}

TEST(TensorBoard, ADirectoryThatIsNotThereIsNamed) {
  std::string message = testing::message_of<RunError>([] { TensorBoardWriter("/nonexistent/run"); });
  EXPECT_NE(message.find("/nonexistent/run/events.out.tfevents."), std::string::npos) << message;
}

TEST(TensorBoard, ValuesThatAreNotFiniteAndLongTextsAreWritten) {
  TempDir dir;
  TensorBoardWriter writer(dir.path());
  writer.scalar("loss", 1, NAN), writer.scalar("loss", 2, std::numeric_limits<double>::infinity());
  writer.text("sample", int64_t{1} << 40, std::string(3 << 20, 'x'));
  writer.flush();
  EXPECT_EQ(records(writer.file()).size(), 4u);
}

}  // namespace
}  // namespace rft::tensorboard_test
