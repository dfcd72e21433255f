// GIF files: what the bytes of the format say.
#include "rft/io/gif.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "rft/io/image.h"
#include "support.h"

namespace rft::gif_test {
namespace {

Tensor frames(int64_t count) {
  Tensor out = at::zeros({count, 3, 6, 10});
  for (int64_t i = 0; i < count; ++i) out[i].fill_(0.2 * static_cast<double>(i));
  return out;
}

int64_t occurrences(const std::string& text, const std::string& what) {
  int64_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST(Gif, HoldsItsFramesAndTheirTime) {
  testing::TempDir dir;
  write_gif(dir / "a.gif", frames(4), 25);
  std::string bytes = testing::read_file(dir / "a.gif");
  EXPECT_EQ(bytes.substr(0, 6), "GIF89a");
  EXPECT_EQ(bytes[6], 10);  // width and height, little-endian
  EXPECT_EQ(bytes[8], 6);
  EXPECT_EQ(occurrences(bytes, "NETSCAPE2.0"), 1);
  EXPECT_EQ(occurrences(bytes, std::string("\x21\xF9\x04", 3)), 4);              // one graphic control a frame,
  EXPECT_EQ(occurrences(bytes, std::string("\x21\xF9\x04\x04\x04\x00", 6)), 4);  // 4 hundredths of a second each
  EXPECT_EQ(static_cast<unsigned char>(bytes.back()), 0x3B);
}

TEST(Gif, AnEpisodeIsAFilmAndSomeStills) {
  testing::TempDir dir;
  write_episode(dir / "episode", frames(30));
  EXPECT_TRUE(std::filesystem::exists(dir / "episode.gif"));
  EXPECT_GT(read_png(dir / "episode.png").size(1), 6);
}

TEST(Gif, WhatIsNoFilmIsRefused) {
  testing::TempDir dir;
  EXPECT_THROW(write_gif(dir / "a.gif", at::zeros({3, 6, 10}), 25), RunError);
  EXPECT_THROW(write_gif(dir / "a.gif", at::zeros({0, 3, 6, 10}), 25), RunError);
  EXPECT_THROW(write_gif(dir / "none/a.gif", frames(1), 25), RunError);
  EXPECT_FALSE(std::filesystem::exists(dir / "a.gif"));
}

}  // namespace
}  // namespace rft::gif_test
