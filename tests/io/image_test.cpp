#include "rft/io/image.h"

#include <ATen/ATen.h>

#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::image_test {
namespace {

using testing::fixture;
using testing::message_of;
using testing::TempDir;

const std::string kData = "parity/data/image_rewards/";

std::string damaged(const std::string& name) {
  return message_of([&] { read_png(fixture(kData + "damaged/" + name + ".png")); });
}

TEST(ReadPng, ReadsEveryKindAsPilDoes) {
  auto expected = load_safetensors(fixture(kData + "png.safetensors")).tensors;
  ASSERT_EQ(expected.size(), 8u);
  for (const auto& [name, value] : expected) {
    Tensor image = read_png(fixture(kData + "png/" + name + ".png"));
    EXPECT_EQ(image.scalar_type(), at::kFloat) << name;
    ASSERT_EQ(image.sizes(), value.sizes()) << name;
    EXPECT_LT((image - value).abs().max().item<float>(), 1e-6F) << name;
  }
}

TEST(ReadPng, RefusesDamagedFilesByName) {
  for (const char* name : {"cut", "cut_header", "signature_only", "checksum", "data", "zero_width", "bad_depth",
                           "few_rows", "no_palette", "bomb"}) {
    std::string message = damaged(name);
    EXPECT_NE(message.find(std::string(name) + ".png] the PNG is damaged: "), std::string::npos) << message;
  }
}

TEST(ReadPng, SaysWhatIsWrong) {
  EXPECT_NE(damaged("cut").find("the file is cut off"), std::string::npos) << damaged("cut");
  EXPECT_NE(damaged("checksum").find("CRC"), std::string::npos) << damaged("checksum");
  EXPECT_NE(damaged("not_png").find("this is not a PNG file"), std::string::npos);
  EXPECT_NE(damaged("empty").find("this is not a PNG file"), std::string::npos);
  EXPECT_NE(damaged("none").find("can't be read"), std::string::npos);
}

TEST(ReadPng, RefusesSizesBeforeItAllocates) {
  std::string huge = damaged("huge"), bomb = damaged("bomb");
  EXPECT_NE(huge.find("at most 16384 pixels a side; this one says it has 2000000000 x 2000000000"), std::string::npos)
      << huge;
  EXPECT_NE(bomb.find("69 bytes can't hold the 16384 x 16384 pixels"), std::string::npos) << bomb;
}

TEST(ReadPng, NoByteThatChangesCrashesIt) {
  std::string good = testing::read_file(fixture(kData + "png/palette_clear.png"));
  TempDir dir;
  int refused = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x55);
    testing::write_file(dir / "bad.png", bad);
    try {
      read_png(dir / "bad.png");
    } catch (const UserError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(WritePng, IsReadBackToTheNearest255th) {
  TempDir dir;
  Tensor image = at::linspace(-0.2, 1.2, 3 * 7 * 5).view({3, 7, 5});
  write_png(dir / "a.png", image);
  Tensor back = read_png(dir / "a.png");
  EXPECT_TRUE(back.mul(255).round().equal(image.clamp(0, 1).mul(255).round()));
  write_png(dir / "grey.png", image.narrow(0, 1, 1));
  Tensor grey = read_png(dir / "grey.png");
  EXPECT_TRUE(grey[0].equal(back[1]) && grey[2].equal(back[1]));
}

TEST(WritePng, GivesEqualBytesAndReplacesAWholeFile) {
  TempDir dir;
  testing::write_file(dir / "a.png", "old");
  Tensor image = at::full({3, 4, 4}, 0.5);
  write_png(dir / "a.png", image), write_png(dir / "b.png", image);
  EXPECT_EQ(testing::read_file(dir / "a.png"), testing::read_file(dir / "b.png"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 2);
}

TEST(WritePng, NamesTheFileItCanNotWrite) {
  TempDir dir;
  std::string message = message_of<RunError>([&] { write_png(dir / "no/a.png", at::zeros({3, 2, 2})); });
  EXPECT_NE(message.find("no/a.png"), std::string::npos) << message;
  message = message_of<RunError>([&] { write_png(dir / "a.png", at::zeros({2, 2, 2})); });
  EXPECT_NE(message.find("[1 or 3, H, W]; got [2, 2, 2]"), std::string::npos) << message;
}

TEST(ContactSheet, LaysPicturesInRowsWithWhiteBetween) {
  Tensor images = at::arange(5).to(at::kFloat).div(10).view({5, 1, 1, 1}).expand({5, 1, 2, 2});
  Tensor sheet = contact_sheet(images, 3, 4, 1);
  ASSERT_EQ(sheet.sizes(), (at::IntArrayRef{1, 9, 14}));
  for (int64_t i = 0; i < 5; ++i) {
    Tensor cell = sheet.narrow(1, i / 3 * 5, 4).narrow(2, i % 3 * 5, 4);
    EXPECT_TRUE(cell.eq(images[i][0][0][0]).all().item<bool>()) << i << cell;
  }
  EXPECT_TRUE(sheet.select(1, 4).eq(1).all().item<bool>() && sheet.select(2, 4).eq(1).all().item<bool>());
  EXPECT_TRUE(sheet.narrow(1, 5, 4).narrow(2, 10, 4).eq(1).all().item<bool>());  // the cell that has no picture
}

TEST(ContactSheet, EnlargesWithHardEdgesByAWholeFactor) {
  Tensor image = at::rand({1, 3, 3, 5});
  Tensor sheet = contact_sheet(image, 0, 8, 2);
  ASSERT_EQ(sheet.sizes(), (at::IntArrayRef{3, 9, 15}));
  EXPECT_TRUE(sheet.slice(1, 2, 9, 3).slice(2, 2, 15, 3).equal(image[0]));
  EXPECT_EQ(contact_sheet(at::rand({1, 3, 100, 90}), 0, 64).size(1), 100);
}

TEST(ContactSheet, ChoosesTheNearestToASquare) {
  EXPECT_EQ(contact_sheet(at::zeros({4, 3, 64, 64}), 0, 64, 0).sizes(), (at::IntArrayRef{3, 128, 128}));
  EXPECT_EQ(contact_sheet(at::zeros({8, 3, 64, 128}), 0, 64, 0).sizes(), (at::IntArrayRef{3, 256, 256}));
  std::string message = message_of<RunError>([] { contact_sheet(at::zeros({0, 3, 4, 4})); });
  EXPECT_NE(message.find("[0, 3, 4, 4]"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::image_test
