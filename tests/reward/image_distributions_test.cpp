#include "image_support.h"
#include "rft/io/image.h"
#include "rft/reward/distribution_rewards.h"

namespace rft::image_distributions_test {
namespace {

using testing::image_data;
using testing::message_of;
using testing::peer;
using testing::pictures;
using testing::TempDir;

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A file with the peer's reference features.
std::string reference_file(const TempDir& dir, const std::string& name) {
  save_safetensors(dir / "reference.safetensors", {{"features", peer(name)}});
  return dir / "reference.safetensors";
}

/// score() in float32 of a batch of more samples than dimensions, and of fewer, against numpy's distances.
TEST(Frechet, IsTheLeaveOneOutGainOfNumpysDistance) {
  TempDir dir;
  FrechetReward model({.reference = reference_file(dir, "small.reference")});
  Rewards rewards = model.score(pictures(peer("small")));
  EXPECT_TRUE(rewards.value.allclose(peer("frechet"), 1e-4, 2e-6)) << rewards.value << peer("frechet");
}

TEST(Frechet, FewRowsAndManyGiveTheSameDistance) {
  TempDir dir;
  // Dimensions that are always 0 change nothing but which of the two formulas is used: 20 rows, 12 or 48 dimensions.
  save_safetensors(dir / "wide.safetensors", {{"features", at::constant_pad_nd(peer("small.reference"), {0, 36})}});
  Tensor narrow =
      FrechetReward({.reference = reference_file(dir, "small.reference")}).score(pictures(peer("small"))).value;
  Tensor images = at::constant_pad_nd(peer("small").reshape({20, 12}), {0, 36}).view({20, 3, 4, 4});
  Tensor wide = FrechetReward({.reference = dir / "wide.safetensors"}).score(pictures(images)).value;
  EXPECT_TRUE(wide.allclose(narrow, 1e-4, 1e-6)) << wide << narrow;
}

TEST(Frechet, MeanAndCovarianceDoAsWellAsFeatures) {
  TempDir dir;
  Tensor features = peer("small.reference").to(at::kDouble), centred = features - features.mean(0);
  save_safetensors(dir / "g.safetensors",
                   {{"mean", features.mean(0)}, {"covariance", centred.t().mm(centred).div(29).contiguous()}});
  Tensor value = FrechetReward({.reference = dir / "g.safetensors"}).score(pictures(peer("small"))).value;
  EXPECT_TRUE(value.allclose(peer("frechet"), 1e-4, 2e-6));
}

TEST(Frechet, TakesADirectoryOfPictures) {
  TempDir dir;
  for (int i = 0; i < 4; ++i) write_png(dir / cat(i, ".png"), peer("images")[i]);
  FrechetReward model({.path = image_data("classifier"), .reference = dir.path()});
  Tensor same = peer("images"), noise = at::rand({2, 3, 16, 16});
  Tensor value = model.score(pictures(at::cat({same, noise}))).value;
  EXPECT_GT(value.narrow(0, 0, 4).mean().item<float>(), value.narrow(0, 4, 2).mean().item<float>()) << value;
}

TEST(Frechet, RefusesReferencesThatDoNotFit) {
  TempDir dir;
  auto message = [&](const std::map<std::string, Tensor>& tensors) {
    save_safetensors(dir / "r.safetensors", tensors);
    return message_of([&] { FrechetReward model({.reference = dir / "r.safetensors"}); });
  };
  EXPECT_TRUE(holds(message({{"mean", at::zeros({3})}}), "\"mean\" [D] and \"covariance\""));
  EXPECT_TRUE(holds(message({{"mean", at::zeros({3})}, {"covariance", at::zeros({3, 4})}}), "[3] and [3, 4]"));
  EXPECT_TRUE(holds(message({{"features", at::zeros({1, 4})}}), "at least two"));
  EXPECT_TRUE(holds(message({{"features", at::zeros({2, 5000})}}), "at most 4096"));
  std::string text = message_of([&] { FrechetReward model({.reference = dir / "none"}); });
  EXPECT_TRUE(holds(text, "frechet.reference") && holds(text, "/none")) << text;
  std::filesystem::create_directory(dir / "empty");
  text = message_of([&] { FrechetReward model({.reference = dir / "empty"}); });
  EXPECT_TRUE(holds(text, "no .png files")) << text;
  FrechetReward model({.reference = reference_file(dir, "small.reference")});
  text = message_of([&] { model.score(pictures(peer("images"))); });
  EXPECT_TRUE(holds(text, "vectors of 12 numbers, but the samples of 768")) << text;
}

TEST(Vendi, IsTheLeaveOneOutGainOfNumpysScore) {
  Experience batch = pictures(peer("small"));
  EXPECT_TRUE(VendiReward({.over = "batch"}).score(batch).value.allclose(peer("vendi"), 1e-4, 2e-6));
  batch.group = at::arange(20).ge(8).to(at::kLong);
  Tensor value = VendiReward({}).score(batch).value;
  EXPECT_TRUE(value.allclose(peer("vendi.groups"), 1e-4, 2e-6)) << value << peer("vendi.groups");
}

TEST(Vendi, OfASetIsTheNumberOfDifferentPictures) {
  Tensor images = at::eye(12).view({12, 3, 2, 2}).narrow(0, 0, 4).clone();
  Tensor value = VendiReward({.over = "batch", .of = "set"}).score(pictures(images)).value;
  EXPECT_TRUE(value.allclose(at::full({4}, 4.0F))) << value;
  images[3] = images[2];
  images[1] = images[2];
  value = VendiReward({.over = "batch", .of = "set"}).score(pictures(images)).value;
  // Two kinds with shares of 1/4 and 3/4: the exponential of their entropy.
  EXPECT_TRUE(value.allclose(at::full({4}, std::exp(-0.25 * std::log(0.25) - 0.75 * std::log(0.75))))) << value;
}

TEST(Vendi, ACopyAddsNoDiversityAndNaNIsLeftOut) {
  Tensor images = at::eye(12).view({12, 3, 2, 2}).narrow(0, 0, 4).clone();
  images[3] = images[2];
  Tensor value = VendiReward({}).score(pictures(images)).value;
  EXPECT_GT(value[0].item<float>(), 0.9F);
  EXPECT_LT(value[2].item<float>(), 0.1F);
  images[3][0][0][0] = std::numeric_limits<float>::quiet_NaN();
  Rewards rewards = VendiReward({}).score(pictures(images));
  EXPECT_NEAR(rewards.value[0].item<double>(), 1, 1e-6);  // three orthogonal ones: 3 - 2
  EXPECT_TRUE(rewards.value[3].isnan().item<bool>() && holds(rewards.errors[3], "not finite")) << rewards.errors[3];
  Experience alone = pictures(images);
  alone.group = at::arange(4);
  rewards = VendiReward({}).score(alone);
  EXPECT_TRUE(rewards.value.isnan().all().item<bool>() && holds(rewards.errors[0], "at least 2")) << rewards.errors[0];
}

TEST(Dragon, IsMinusNumpysDistanceOfPatches) {
  TempDir dir;
  DragonReward patches({.reference = reference_file(dir, "patch.reference"), .patch = 4});  // 16 rows of 48 numbers
  Tensor value = patches.score(pictures(peer("images"))).value;
  EXPECT_TRUE(value.allclose(peer("dragon.patch"), 1e-4, 1e-5)) << value << peer("dragon.patch");
  DragonReward colours({.reference = reference_file(dir, "colour.reference")});  // 256 rows of 3 numbers
  value = colours.score(pictures(peer("images"))).value;
  EXPECT_TRUE(value.allclose(peer("dragon.colour"), 1e-4, 1e-6)) << value << peer("dragon.colour");
}

TEST(Dragon, APictureOfTheReferenceIsNearest) {
  TempDir dir;
  write_png(dir / "a.png", peer("images")[1]);
  DragonReward model({.path = image_data("classifier"), .reference = dir.path()});
  Tensor value = model.score(pictures(peer("images"))).value;
  EXPECT_EQ(value.argmax().item<int64_t>(), 1) << value;
  EXPECT_NEAR(value[1].item<double>(), 0, 2e-2);
}

TEST(Dragon, PatchesMustFillThePicture) {
  TempDir dir;
  DragonReward model({.reference = reference_file(dir, "patch.reference"), .patch = 5});
  std::string message = message_of([&] { model.score(pictures(peer("images"))); });
  EXPECT_TRUE(holds(message, "dragon.patch") && holds(message, "16 x 16")) << message;
}

}  // namespace
}  // namespace rft::image_distributions_test
