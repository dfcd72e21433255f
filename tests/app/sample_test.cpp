// `rft sample` against whole pipelines of diffusers: the same noise gives the same latents and pictures.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/io/image.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::sample_test {
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
                                           Case{"flux_schnell", "--height 16 --width 16"},
                                           Case{"animatediff", "--guidance 4 --frames 3"}),
                         [](const auto& info) { return info.param.name; });

/// A pipeline's directory to be damaged, and what `rft sample` says of it.
struct Damaged {
  explicit Damaged(const std::string& name) {
    std::filesystem::copy(testing::fixture("parity/data/pipelines/" + name), copy / "model",
                          std::filesystem::copy_options::recursive);
  }
  std::string path(const std::string& file) const { return copy / ("model/" + file); }
  void replace(const std::string& file, const std::string& from, const std::string& to) const {
    std::string text = testing::read_file(path(file));
    ASSERT_NE(text.find(from), std::string::npos) << file;
    testing::write_file(path(file), text.replace(text.find(from), from.size(), to));
  }
  testing::Ran sample(int code) const {
    auto ran = testing::rft(
        cat("sample ", copy / "model", " --steps 2 --out ", copy / "out", " --prompts ", path("prompts.jsonl")));
    EXPECT_EQ(ran.code, code) << ran.err;
    return ran;
  }
  void says(const std::string& what) const {
    auto ran = sample(2);
    EXPECT_NE(ran.err.find(what), std::string::npos) << ran.err;
  }

 private:
  testing::TempDir copy;
};

TEST(Sample, AMissingPartIsNamed) {
  for (const char* part : {"scheduler", "unet", "vae", "text_encoder"}) {
    Damaged model("sd");
    std::filesystem::remove_all(model.path(part));
    model.says(cat("model_index.json names the part '", part, "', but there is no"));
  }
  Damaged flux("flux");
  std::filesystem::remove_all(flux.path("tokenizer_2"));
  flux.says("tokenizer_2");
  Damaged index("sd");
  index.replace("model_index.json", "\"tokenizer\": [", "\"tokeniser\": [");
  index.says("did you mean 'tokenizer'");
}

TEST(Sample, PartsThatDoNotFitTogetherAreNamed) {
  Damaged pixels("ddim"), latents("sd"), control("controlnet");
  auto no_vae = [](const Damaged& model) {
    auto index = nlohmann::json::parse(testing::read_file(model.path("model_index.json")));
    index["vae"] = {nullptr, nullptr};
    testing::write_file(model.path("model_index.json"), index.dump());
  };
  no_vae(latents);
  latents.says("without a vae the unet must work on pixels, of 1 or 3 channels; it takes 4");
  pixels.replace("unet/config.json", "\"in_channels\": 3", "\"in_channels\": 5");
  pixels.says("conv_in.weight");
  testing::write_file(control.path("prompts.jsonl"), "{\"prompt\": \"a fox\", \"control\": \"prompts.jsonl\"}\n");
  control.says("prompts.jsonl:1");
  testing::write_file(control.path("prompts.jsonl"), "{\"prompt\": \"a fox\"}\n");
  control.says("`control`");
}

TEST(Sample, APromptThatIsTooLongIsCutOffAndSaid) {
  Damaged model("sd");
  std::string words;
  for (int i = 0; i < 90; ++i) words += " fox";
  testing::write_file(model.path("prompts.jsonl"), "{\"prompt\": \"" + words + "\"}\n");
  auto ran = model.sample(0);
  EXPECT_NE(ran.err.find("longer than the text encoder's 77 tokens and is cut off"), std::string::npos) << ran.err;
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
}  // namespace rft::sample_test
