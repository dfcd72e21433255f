#include "rft/io/files.h"

#include <sys/stat.h>

#include "support.h"

namespace rft::files_test {
namespace {

using testing::message_of;
using testing::TempDir;
namespace fs = std::filesystem;

TEST(Files, WhatIsWrittenIsReadBack) {
  TempDir dir;
  std::string content("a\0b\n\xff", 5);
  write_text(dir / "x", content);
  EXPECT_EQ(read_text(dir / "x"), content);
  write_text(dir / "x", "");
  EXPECT_EQ(read_text(dir / "x"), "");
}

TEST(Files, WritingLeavesNoTemporaryFileBehind) {
  TempDir dir;
  write_text(dir / "x", "one");
  write_text(dir / "x", "two");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
  fs::create_directory(dir / "taken");
  EXPECT_NE(message_of<RunError>([&] { write_text(dir / "taken", "x"); }).find("taken"), std::string::npos);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 2);
}

TEST(Files, AFailedWriteKeepsTheOldFileAndSaysWhy) {
  TempDir dir;
  EXPECT_NE(message_of<RunError>([&] { write_text(dir / "none/x", "x"); }).find("No such file"), std::string::npos);
}

TEST(Files, ADeviceIsWrittenInPlaceAndStaysADevice) {
  write_text("/dev/null", "gone");
  struct stat info;
  ASSERT_EQ(::stat("/dev/null", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
}

TEST(Files, MemoryThatIsAFileSystemHoldsFilesLikeAnyOther) {
  if (!directory_exists("/dev/shm")) GTEST_SKIP() << "there is no /dev/shm";
  std::string file = cat("/dev/shm/rft-files-test-", ::getpid());
  write_text(file, "one");
  write_text(file, "two");
  EXPECT_EQ(read_text(file), "two");
  std::filesystem::remove(file);
}

TEST(Files, ReadingNamesTheFileThatIsMissingADirectoryOrTooLarge) {
  TempDir dir;
  EXPECT_NE(message_of([&] { read_text(dir / "none"); }).find(dir / "none"), std::string::npos);
  EXPECT_NE(message_of([&] { read_text(dir.path()); }).find("directory"), std::string::npos);
  write_text(dir / "x", "12345");
  EXPECT_EQ(read_text(dir / "x", 5), "12345");
  EXPECT_NE(message_of([&] { read_text(dir / "x", 4); }).find("at most 4 bytes"), std::string::npos);
  EXPECT_NE(message_of([&] { read_text("/dev/zero", 1000); }).find("at most 1000 bytes"), std::string::npos);
}

TEST(Files, ExistenceTellsFilesFromDirectories) {
  TempDir dir;
  make_directories(dir / "a/b");
  make_directories(dir / "a/b");
  write_text(dir / "a/x", "");
  EXPECT_TRUE(directory_exists(dir / "a/b"));
  EXPECT_FALSE(file_exists(dir / "a/b"));
  EXPECT_TRUE(file_exists(dir / "a/x"));
  EXPECT_FALSE(directory_exists(dir / "a/x"));
  EXPECT_FALSE(file_exists(dir / "a/y"));
  EXPECT_THROW(make_directories(dir / "a/x"), RunError);
  EXPECT_THROW(make_directories(dir / "a/x/y"), RunError);
}

TEST(Files, ANameFromAFileCanNotLeaveItsDirectory) {
  TempDir dir;
  make_directories(dir / "model/sub");
  write_text(dir / "secret", "s");
  write_text(dir / "model/sub/x", "s");
  std::string model = dir / "model";
  fs::create_symlink(dir / "secret", dir / "model/out");
  fs::create_symlink("sub/x", dir / "model/in");
  fs::create_symlink(dir.path(), dir / "model/up");
  EXPECT_EQ(path_inside(model, "sub/x", "index"), model + "/sub/x");
  EXPECT_EQ(path_inside(model, "in", "index"), model + "/in");
  EXPECT_EQ(path_inside(model, "new", "index"), model + "/new");
  for (std::string name : {"", "../secret", "sub/../../secret", "/etc/passwd", "out", "up/secret"}) {
    EXPECT_NE(message_of([&] { path_inside(model, name, "index"); }).find("[index]"), std::string::npos) << name;
  }
  EXPECT_THROW(path_inside(model, std::string("a\0b", 3), "index"), UserError);
}

}  // namespace
}  // namespace rft::files_test
