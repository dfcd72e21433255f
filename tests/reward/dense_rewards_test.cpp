// Consistency of segmentation and depth against transformers (tests/parity/make_dense.py).
#include "rft/reward/dense_rewards.h"

#include "image_support.h"
#include "rft/io/image.h"

namespace rft::dense_rewards_test {
namespace {

using testing::message_of;
using testing::pictures;

std::string data(const std::string& name) { return testing::fixture("parity/data/dense/" + name); }

const Tensor& peer(const std::string& name) {
  static const auto tensors = load_safetensors(data("rewards.safetensors")).tensors;
  return tensors.at(name);
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Experience labelled(const Tensor& images = peer("images")) {
  return pictures(images, "control", {"1.png", "2.png", "holes.png"});
}
Experience measured(const Tensor& images = peer("images")) {
  return pictures(images, "control", {"1.png", "2.png", "3.png"});
}
/// Each row's condition is another row's picture.
Experience pictured() {
  auto batch = pictures(peer("images"));
  batch.context.set("control", peer("images").flip(0));
  return batch;
}

/// Values and the gradient of their sum are the peer's, and the gradient is the slope along itself.
void expect_peer(RewardModel& model, Experience batch, const std::string& name) {
  Tensor images = peer("images").clone().requires_grad_(true);
  batch.extra.set(extra::image, images);
  Rewards rewards = model.score(batch);
  EXPECT_TRUE(rewards.value.allclose(peer(name), 1e-5, 2e-5)) << name << rewards.value << peer(name);
  rewards.value.sum().backward();
  Tensor gradient = peer(name + ".grad");
  double scale = gradient.abs().max().item<double>(), length = gradient.norm().item<double>();
  EXPECT_GT(scale, 0) << name;
  EXPECT_LT((images.grad() - gradient).abs().max().item<double>() / scale, 1e-3) << name;
  constexpr double kStep = 1e-3;
  auto sum_at = [&](double step) {
    batch.extra.set(extra::image, images.detach().add(images.grad(), step / length));
    return model.score(batch).value.to(at::kDouble).sum().item<double>();
  };
  EXPECT_NEAR((sum_at(kStep) - sum_at(-kStep)) / (2 * kStep), length, 1e-2 * length) << name;
}

TEST(SegmentationConsistency, IsTransformersLossOfGivenLabels) {
  SegmentationConsistency model({.path = data("segformer"), .directory = data("labels")});
  EXPECT_EQ(model.columns(), std::vector<std::string>{"control"});
  expect_peer(model, labelled(), "segmentation");
  SegmentationConsistency reduced({.path = data("segformer"), .directory = data("labels"), .reduce_labels = true});
  expect_peer(reduced, labelled(), "segmentation.reduced");
}

TEST(SegmentationConsistency, OfAPictureTheModelFindsTheLabels) {
  SegmentationConsistency model({.path = data("segformer"), .condition = "picture"});
  expect_peer(model, pictured(), "segmentation.picture");
}

TEST(SegmentationConsistency, PartsOfABatchGiveTheSame) {
  SegmentationConsistency parts({.path = data("segformer"), .directory = data("labels"), .batch_size = 2});
  EXPECT_TRUE(parts.score(labelled()).value.allclose(peer("segmentation"), 1e-5, 2e-5));
  DepthConsistency depth({.path = data("dpt"), .directory = data("depth"), .batch_size = 2});
  EXPECT_TRUE(depth.score(measured()).value.allclose(peer("depth"), 1e-5, 2e-5));
}

TEST(SegmentationConsistency, TakesAControlNetsTensor) {
  std::vector<Tensor> maps;
  for (const char* name : {"1.png", "2.png", "holes.png"})
    maps.push_back(read_png(data(std::string("labels/") + name)).narrow(0, 0, 1));
  auto batch = pictures(peer("images"));
  batch.context.set("control", at::stack(maps));
  SegmentationConsistency model({.path = data("segformer")});
  expect_peer(model, batch, "segmentation");
}

TEST(SegmentationConsistency, RowsWithoutLabelsAreNaNAndPassNoGradient) {
  testing::TempDir dir;
  write_png(dir / "good.png", at::full({1, 8, 12}, 1.0 / 255));
  write_png(dir / "large.png", at::zeros({1, 12, 8}));
  write_png(dir / "colour.png", at::rand({3, 8, 12}).round());
  write_png(dir / "class.png", at::full({1, 8, 12}, 5.0 / 255));
  write_png(dir / "void.png", at::ones({1, 8, 12}));
  SegmentationConsistency model({.path = data("segformer"), .directory = dir / ""});
  Tensor images = peer("images").repeat({2, 1, 1, 1}).requires_grad_(true);
  Rewards rewards = model.score(
      pictures(images, "control", {"good.png", "none.png", "large.png", "colour.png", "class.png", "void.png"}));
  EXPECT_TRUE(rewards.value.isnan().equal(at::tensor({0, 1, 1, 1, 1, 1}).to(at::kBool))) << rewards.value;
  EXPECT_TRUE(holds(rewards.errors[1], "column 'control'") && holds(rewards.errors[1], "none.png"));
  EXPECT_TRUE(holds(rewards.errors[2], "must be 12 x 8 pixels") && holds(rewards.errors[2], "8 x 12"));
  EXPECT_TRUE(holds(rewards.errors[3], "must be grey")) << rewards.errors[3];
  EXPECT_TRUE(holds(rewards.errors[4], "the model's classes are 0 .. 4")) << rewards.errors[4];
  EXPECT_TRUE(holds(rewards.errors[5], "no pixel of the label map counts")) << rewards.errors[5];
  rewards.value.nansum().backward();
  EXPECT_GT(images.grad()[0].abs().sum().item<float>(), 0);
  EXPECT_TRUE(images.grad().narrow(0, 1, 5).eq(0).all().item<bool>());
}

TEST(DepthConsistency, IsTransformersDepthOverItsLargest) {
  DepthConsistency model({.path = data("dpt"), .directory = data("depth")});
  EXPECT_EQ(model.columns(), std::vector<std::string>{"control"});
  expect_peer(model, measured(), "depth");
  DepthConsistency other({.path = data("depth_anything"), .directory = data("depth")});
  expect_peer(other, measured(), "depth.depth_anything");
}

TEST(DepthConsistency, OfAPictureTheModelFindsTheDepth) {
  DepthConsistency model({.path = data("dpt"), .condition = "picture"});
  expect_peer(model, pictured(), "depth.picture");
  auto same = pictured();
  same.context.set("control", peer("images"));
  EXPECT_NEAR(model.score(same).value.abs().max().item<double>(), 0, 1e-10);
}

TEST(DepthConsistency, RowsWithoutDepthAreNaNAndPassNoGradient) {
  testing::TempDir dir;
  write_png(dir / "good.png", at::rand({1, 8, 12}));
  write_png(dir / "large.png", at::rand({1, 16, 24}));
  write_png(dir / "black.png", at::zeros({1, 8, 12}));
  DepthConsistency model({.path = data("dpt"), .directory = dir / ""});
  Tensor images = at::cat({peer("images"), peer("images").narrow(0, 0, 1)}).requires_grad_(true);
  Rewards rewards = model.score(pictures(images, "control", {"good.png", "none.png", "large.png", "black.png"}));
  EXPECT_TRUE(rewards.value.isnan().equal(at::tensor({0, 1, 1, 1}).to(at::kBool))) << rewards.value;
  EXPECT_TRUE(holds(rewards.errors[1], "none.png")) << rewards.errors[1];
  EXPECT_TRUE(holds(rewards.errors[2], "must be 12 x 8 pixels")) << rewards.errors[2];
  EXPECT_TRUE(holds(rewards.errors[3], "black all over")) << rewards.errors[3];
  rewards.value.nansum().backward();
  EXPECT_GT(images.grad()[0].abs().sum().item<float>(), 0);
  EXPECT_TRUE(images.grad().narrow(0, 1, 3).eq(0).all().item<bool>());
}

TEST(DenseRewards, RefuseDirectoriesOfOtherModels) {
  auto segmentation = [](const std::string& path) {
    return message_of([&] { SegmentationConsistency({.path = path}); });
  };
  auto depth = [](const std::string& path) { return message_of([&] { DepthConsistency({.path = path}); }); };
  std::string text = segmentation(data("dpt"));
  EXPECT_TRUE(holds(text, "segmentation_consistency.path") && holds(text, "depth model")) << text;
  text = depth(data("segformer"));
  EXPECT_TRUE(holds(text, "depth_consistency.path") && holds(text, "5 classes")) << text;
  text = depth(data("labels"));
  EXPECT_TRUE(holds(text, "depth_consistency.path") && holds(text, "config.json")) << text;
  text = segmentation(testing::image_data("classifier"));
  EXPECT_TRUE(holds(text, "no segmentation or depth model 'ViTForImageClassification'")) << text;
}

}  // namespace
}  // namespace rft::dense_rewards_test
