// `rft sample` against whole pipelines of diffusers: the same noise gives the same latents and pictures.
#include <ATen/ATen.h>

#include "rft/io/image.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft {
namespace {

struct Case {
  const char* name;
  const char* options;
};

class Pipelines : public ::testing::TestWithParam<Case> {};

TEST_P(Pipelines, GiveDiffusersPictures) {
  testing::TempDir out;
  std::string directory = testing::fixture(cat("parity/data/pipelines/", GetParam().name));
  auto ran =
      testing::rft(cat("sample ", directory, " --out ", out / "images", " --prompts ", directory,
                       "/prompts.jsonl --noise ", directory, "/noise.safetensors --steps 10 ", GetParam().options));
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto given = load_safetensors(directory + "/case.safetensors").tensors;
  Tensor latents = load_safetensors(out / "images/latents.safetensors").tensors.at("latents");
  std::string name = GetParam().name;
  if (name != "ddim" && name != "dit") {  // whose pipelines give only pictures
    EXPECT_LE(latents.sub(given.at("latents")).abs().max().item<double>(), 1e-4);
  }
  for (int64_t i = 0; i < latents.size(0); ++i) {
    Tensor picture = read_png(out / cat("images/00", i, ".png"));
    EXPECT_LE(picture.sub(given.at("images")[i]).abs().max().item<double>(), 1.0 / 255) << i;
  }
  EXPECT_TRUE(std::filesystem::exists(out / "images/contact_sheet.png"));
}

INSTANTIATE_TEST_SUITE_P(All, Pipelines,
                         ::testing::Values(Case{"ddim", ""}, Case{"sd", "--guidance 4"},
                                           Case{"controlnet", "--guidance 3"}, Case{"sdxl", "--guidance 5"},
                                           Case{"sd3", "--guidance 4"}, Case{"dit", "--guidance 2"},
                                           Case{"sd3_t5", "--guidance 4"},
                                           Case{"flux", "--guidance 3.5 --height 16 --width 16"},
                                           Case{"flux_schnell", "--height 16 --width 16"}),
                         [](const auto& info) { return info.param.name; });

TEST(Sample, AMissingPartIsNamed) {
  testing::TempDir copy;
  std::filesystem::copy(testing::fixture("parity/data/pipelines/ddim"), copy / "model",
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(copy / "model/scheduler");
  auto ran = testing::rft(cat("sample ", copy / "model", " --out ", copy / "out"));
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("model_index.json names the part 'scheduler', but there is no"), std::string::npos) << ran.err;
}

TEST(Sample, NoiseOfAnotherShapeIsRefused) {
  testing::TempDir dir;
  save_safetensors(dir / "noise.safetensors", {{"noise", at::zeros({3, 3, 8, 8})}});
  auto ran = testing::rft(cat("sample ", testing::fixture("parity/data/pipelines/ddim"), " --out ", dir / "out",
                              " --noise ", dir / "noise.safetensors"));
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("'noise' must be [1, C, h, w], a row an image; got [3, 3, 8, 8]"), std::string::npos)
      << ran.err;
}

TEST(Sample, TheSameSeedGivesTheSamePictures) {
  testing::TempDir dir;
  std::string model = testing::fixture("parity/data/pipelines/ddim");
  for (const char* name : {"a", "b", "c"}) {
    auto ran = testing::rft(cat("sample ", model, " --steps 3 --samples 2 --out ", dir / name, " --seed ",
                                std::string(name) == "c" ? 2 : 1));
    ASSERT_EQ(ran.code, 0) << ran.err;
  }
  EXPECT_EQ(testing::read_file(dir / "a/001.png"), testing::read_file(dir / "b/001.png"));
  EXPECT_NE(testing::read_file(dir / "a/001.png"), testing::read_file(dir / "c/001.png"));
}

}  // namespace
}  // namespace rft
