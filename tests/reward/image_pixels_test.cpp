#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "image_support.h"
#include "rft/reward/image_rewards.h"

namespace rft::image_pixels_test {
namespace {

using testing::gradient_error;
using testing::image_data;
using testing::message_of;
using testing::peer;
using testing::pictures;

const Tensor& samples() { return peer("images"); }

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(ImageRewards, NeedPictures) {
  Experience batch;
  batch.context.set_text("prompt", {"a"});
  std::string message = message_of<RunError>([&] { JpegSize({}).score(batch); });
  EXPECT_TRUE(holds(message, "no extra 'image'")) << message;
  batch.extra.set(extra::image, at::zeros({1, 1, 4, 4}));
  message = message_of<RunError>([&] { JpegSize({}).score(batch); });
  EXPECT_TRUE(holds(message, "[B, 3, H, W]") && holds(message, "[1, 1, 4, 4]")) << message;
}

TEST(JpegSize, IsPilsFileSizeInKilobytes) {
  auto sizes = nlohmann::json::parse(testing::read_file(image_data("values.json"))).at("jpeg_bytes");
  for (const auto& [quality, bytes] : sizes.items()) {
    JpegSize small({.quality = std::stoll(quality)}), large({.incompressible = true, .quality = std::stoll(quality)});
    Tensor kilobytes = at::tensor(bytes.get<std::vector<double>>()).to(at::kFloat).div(1000);
    Tensor value = small.score(pictures(samples())).value;
    EXPECT_TRUE(value.neg().allclose(kilobytes, 0, 1e-6)) << quality << value << kilobytes;
    EXPECT_TRUE(large.score(pictures(samples())).value.equal(value.neg()));
  }
}

TEST(JpegSize, APictureThatIsNotFiniteIsNaN) {
  Tensor images = samples().clone();
  images[1][0][3][3] = std::numeric_limits<float>::quiet_NaN();
  Rewards rewards = JpegSize({}).score(pictures(images));
  EXPECT_EQ(rewards.value.isnan().nonzero().view({-1}).item<int64_t>(), 1);
  EXPECT_TRUE(holds(rewards.errors[1], "not finite")) << rewards.errors[1];
}

TEST(ColourTarget, IsTheSquaredDistanceOfMeanColours) {
  ColourTarget model({.colour = {1, 0.5, 0}});
  Tensor images = at::tensor({1.0, 0.0, 0.2, 0.4}).view({1, 1, 2, 2}).expand({1, 3, 2, 2});  // mean 0.4
  EXPECT_NEAR(model.score(pictures(images)).value.item<double>(), -(0.36 + 0.01 + 0.16), 1e-6);
  EXPECT_LT(gradient_error(model, pictures(samples()), samples()), 1e-8);
}

TEST(ColourTarget, TakesItsColourFromAPicture) {
  std::string file = image_data("png/rgb.png");
  ColourTarget model({.column = "goal"});
  auto expected = load_safetensors(image_data("png.safetensors")).tensors.at("rgb").mean({1, 2});
  Tensor value = model.score(pictures(samples(), "goal", {file, file, file, file})).value;
  EXPECT_TRUE(value.allclose((samples().mean({2, 3}) - expected).square().sum(1).neg(), 1e-5, 1e-7)) << value;
  EXPECT_EQ(model.columns(), std::vector<std::string>{"goal"});
}

TEST(PixelTarget, IsTheMeanSquaredDistanceOfColours) {
  PixelTarget model({.column = "goal", .directory = image_data("png")});
  auto batch = pictures(samples(), "goal", {"square_a.png", "square_b.png", "square_a.png", "square_a.png"});
  Tensor value = model.score(batch).value;
  batch.extra.set(extra::image, value.new_zeros({4, 3, 16, 16}));
  Tensor black = model.score(batch).value;
  EXPECT_EQ(black[0].item<float>(), black[2].item<float>());
  EXPECT_NE(black[0].item<float>(), black[1].item<float>());
  Tensor direct = PixelTarget({.colour = {0.25, 0.5, 1}}).score(pictures(samples())).value;
  Tensor wanted = at::tensor({0.25F, 0.5F, 1.0F}).view({1, 3, 1, 1});
  EXPECT_TRUE(direct.allclose((samples() - wanted).square().mean({2, 3}).sum(1).neg(), 1e-5, 1e-7)) << direct;
  EXPECT_LT(gradient_error(model, batch, samples()), 1e-8);
}

TEST(PixelTarget, RowsWithoutAPictureAreNaNAndPassNoGradient) {
  PixelTarget model({.column = "goal", .directory = image_data("png")});
  Tensor images = samples().clone().requires_grad_(true);
  Rewards rewards = model.score(pictures(images, "goal", {"square_a.png", "none.png", "rgb.png", ""}));
  EXPECT_TRUE(rewards.value.isnan().equal(at::tensor({0, 1, 1, 1}).to(at::kBool))) << rewards.value;
  EXPECT_TRUE(holds(rewards.errors[1], "column 'goal'") && holds(rewards.errors[1], "none.png")) << rewards.errors[1];
  EXPECT_TRUE(holds(rewards.errors[2], "must be 16 x 16 pixels") && holds(rewards.errors[2], "13 x 9"))
      << rewards.errors[2];
  EXPECT_TRUE(holds(rewards.errors[3], "no file name")) << rewards.errors[3];
  rewards.value.nansum().backward();
  EXPECT_GT(images.grad()[0].abs().sum().item<float>(), 0);
  EXPECT_TRUE(images.grad().narrow(0, 1, 3).eq(0).all().item<bool>());
}

TEST(PictureTarget, NeedsAColourOrAColumn) {
  auto message = [](const PictureTarget& target) { return message_of([&] { ColourTarget model(target); }); };
  EXPECT_TRUE(holds(message({}), "none is given")) << message({});
  EXPECT_TRUE(holds(message({.colour = {0, 0, 0}, .column = "goal"}), "both are"));
  EXPECT_TRUE(holds(message({.colour = {0, 0}}), "colour_target.colour] must be [red, green, blue]; got 2"));
  EXPECT_TRUE(holds(message({.colour = {0, 2, 0}}), "in [0, 1]; got 2"));
}

TEST(EdgeConsistency, AStepIsAnEdgeOfOne) {
  Tensor image = at::zeros({1, 3, 6, 6});
  image.narrow(3, 3, 3).fill_(1);  // white from column 3 on: the gradient is 1 in columns 2 and 3
  Tensor map = at::zeros({1, 1, 6, 6});
  map.narrow(3, 2, 2).fill_(1);
  auto batch = pictures(image);
  batch.context.set("control", map);
  EdgeConsistency model({});
  EXPECT_NEAR(model.score(batch).value.item<double>(), 0, 1e-5);
  batch.context.set("control", at::zeros({1, 1, 6, 6}));
  EXPECT_NEAR(model.score(batch).value.item<double>(), -1.0 / 3, 1e-3);
}

TEST(EdgeConsistency, APicturesOwnEdgesAgree) {
  auto batch = pictures(samples());
  batch.context.set("control", samples());
  EdgeConsistency model({.condition = "picture"});
  EXPECT_NEAR(model.score(batch).value.abs().max().item<double>(), 0, 1e-10);
  batch.context.set("control", samples().flip(0));
  EXPECT_LT(model.score(batch).value.max().item<double>(), -1e-3);
  EXPECT_LT(gradient_error(model, batch, samples(), 1e-6), 1e-7);
}

TEST(EdgeConsistency, ReadsFilesToo) {
  auto files = pictures(samples(), "control", std::vector<std::string>(4, "square_b.png"));
  EdgeConsistency model({.directory = image_data("png"), .condition = "picture"});
  Tensor value = model.score(files).value;
  EXPECT_LT(value.max().item<double>(), -1e-3);
  EXPECT_FALSE(value.isnan().any().item<bool>());
}

}  // namespace
}  // namespace rft::image_pixels_test
