// How images are taken, CLIP's image tower and a grey classifier, against torch and transformers.
#include "rft/nn/vision_encoder.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "nn/vision_encoders.h"
#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::vision_encoder_test {
namespace {

using Tensors = std::map<std::string, Tensor>;

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/encoders/" + name); }
std::string config_of(const std::string& name) { return testing::read_file(directory_of(name) + "/config.json"); }
Tensors case_of(const std::string& name) { return load_safetensors(directory_of(name) + "/case.safetensors").tensors; }

std::unique_ptr<VisionEncoder> load(const std::string& name, at::ScalarType dtype = at::kFloat,
                                    const std::string& config = "", const std::string& preprocessor = "") {
  std::string directory = directory_of(name);
  return make_vision_encoder(config.empty() ? config_of(name) : config, preprocessor,
                             WeightSource(load_hf_tensors(directory), dtype, directory), directory);
}

double distance(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

Tensor wave(at::IntArrayRef shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return at::arange(count, at::kDouble).mul(0.7).sin().mul(0.5).add(0.5).view(shape);
}

void expect_gradients(const Tensors& given, const Tensors& weights, const Tensor& images) {
  int compared = 0;
  for (const auto& [name, value] : given)
    if (name.starts_with("grad.")) {
      Tensor grad = name == "grad.images" ? images.grad() : weights.at(name.substr(5)).grad();
      EXPECT_LE(distance(grad, value), 2e-5 * (1 + value.abs().max().item<double>())) << name;
      ++compared;
    }
  EXPECT_GE(compared, 4);
}

class ClipVisions : public ::testing::TestWithParam<const char*> {};

TEST_P(ClipVisions, GiveTransformersOutputsAndGradients) {
  auto given = case_of(GetParam());
  auto model = load(GetParam());
  Tensors weights(model->weights().tensors.begin(), model->weights().tensors.end());
  for (auto& [name, value] : weights) value.requires_grad_(true);
  Tensor images = given.at("images").clone().requires_grad_();
  auto out = model->forward(images);
  EXPECT_LE(distance(out.hidden, given.at("hidden")), 1e-5);
  EXPECT_LE(distance(out.pooled, given.at("pooled")), 1e-5);
  EXPECT_FALSE(out.logits.defined());
  out.pooled.square().sum().add(out.hidden.sin().sum()).backward();
  expect_gradients(given, weights, images);
}

INSTANTIATE_TEST_SUITE_P(All, ClipVisions, ::testing::Values("vision", "vision_projection"));

class VisionEncoders : public ::testing::TestWithParam<const char*> {};

TEST_P(VisionEncoders, AnUntrainedOneHasTransformersTensors) {
  auto shapes = nlohmann::json::parse(testing::read_file(directory_of(GetParam()) + "/shapes.json"));
  auto model = make_vision_encoder(config_of(GetParam()), "", WeightSource::random(at::kFloat, 1), "random");
  EXPECT_EQ(model->weights().tensors.size(), shapes.size());
  for (const auto& [name, value] : model->weights().tensors) {
    ASSERT_TRUE(shapes.contains(name)) << name;
    EXPECT_EQ(value.sizes().vec(), shapes[name].get<std::vector<int64_t>>()) << name;
  }
}

TEST_P(VisionEncoders, TheirGradientsInTheImagesAreTheSlopes) {
  auto model = load(GetParam(), at::kDouble);
  Tensor images = wave({1, 3, 9, 12}).requires_grad_(), direction = wave({1, 3, 9, 12}).cos();
  auto loss = [&](const Tensor& x) { return model->forward(x).pooled.sin().sum(); };
  loss(images).backward();
  constexpr double kStep = 1e-6;
  double slope = loss(images.detach().add(direction, kStep)).item<double>() -
                 loss(images.detach().sub(direction, kStep)).item<double>();
  EXPECT_NEAR(images.grad().mul(direction).sum().item<double>(), slope / (2 * kStep), 1e-7);
}

INSTANTIATE_TEST_SUITE_P(All, VisionEncoders, ::testing::Values("vision", "vision_projection", "vit_grey"));

TEST(Vit, OfOneChannelTakesTheMeanOverChannels) {
  auto given = case_of("vit_grey");
  auto model = load("vit_grey");
  EXPECT_EQ(model->labels(), std::vector<std::string>{"LABEL_0"});
  Tensors weights(model->weights().tensors.begin(), model->weights().tensors.end());
  for (auto& [name, value] : weights) value.requires_grad_(true);
  Tensor images = given.at("images").clone().requires_grad_();
  Tensor logits = model->forward(images).logits;
  EXPECT_LE(distance(logits, given.at("logits")), 1e-5);
  logits.square().sum().backward();
  expect_gradients(given, weights, images);
  Tensor grey = images.detach().mean(1, true);
  EXPECT_LE(distance(model->forward(grey).logits, logits), 1e-6);
}

TEST(Clip, AWholeModelGivesItsImagePart) {
  auto given = case_of("clip");
  auto model = load("clip");
  Tensor images = given.at("images").clone().requires_grad_();
  Tensor pooled = model->forward(images).pooled;
  EXPECT_LE(distance(pooled, given.at("image_embeds")), 1e-5);
  pooled.square().sum().backward();
  EXPECT_LE(distance(images.grad(), given.at("grad.images")), 1e-5);
  for (const auto& [name, value] : model->weights().tensors) EXPECT_TRUE(name.starts_with("vis")) << name;
}

TEST(Clip, AnOldDirectorysPrefixAndPositionsAreTaken) {
  auto given = case_of("vision");
  Tensors old;
  for (const auto& [name, value] : load_hf_tensors(directory_of("vision"))) old["vision_model." + name] = value;
  old["vision_model.embeddings.position_ids"] = at::arange(5).unsqueeze(0);
  auto model = make_vision_encoder(config_of("vision"), "", WeightSource(old, at::kFloat, "old"), "old");
  EXPECT_LE(distance(model->forward(given.at("images")).pooled, given.at("pooled")), 1e-5);
}

TEST(ImageInput, ResizesAsTorchDoes) {
  auto given = load_safetensors(directory_of("resizing.safetensors")).tensors;
  for (int64_t size : {5, 8, 16})
    for (bool crop : {false, true}) {
      ImageInput input{.size = size, .channels = 3, .crop = crop, .mean = {0, 0, 0}, .std = {1, 1, 1}};
      EXPECT_LE(distance(input(given.at("images")), given.at(cat(crop ? "crop." : "square.", size))), 1e-6) << size;
    }
}

TEST(ImageInput, KeepsImagesOfTheRightSizeAsTheyAre) {
  ImageInput input{.size = 6, .channels = 3, .crop = true, .mean = {0.5, 0.25, 0}, .std = {0.5, 1, 2}};
  Tensor images = wave({2, 3, 6, 6}), out = input(images);
  EXPECT_TRUE(out.select(1, 0).equal(images.select(1, 0).sub(0.5).div(0.5)));
  EXPECT_TRUE(out.select(1, 1).equal(images.select(1, 1).sub(0.25)));
  EXPECT_TRUE(out.select(1, 2).equal(images.select(1, 2).div(2)));
}

TEST(ImageInput, ItsGradientsAreTheSlopes) {
  for (bool crop : {false, true}) {
    ImageInput input{.size = 5, .channels = 3, .crop = crop, .mean = {0.5, 0.4, 0.3}, .std = {0.2, 0.3, 0.4}};
    Tensor images = wave({1, 3, 7, 11}).requires_grad_();
    Tensor weight = wave({1, 3, 5, 5}).cos();
    input(images).mul(weight).sum().backward();
    for (int64_t i = 0; i < images.numel(); i += 13) {
      Tensor step = at::zeros({images.numel()}, at::kDouble);
      step[i] = 1;  // the map is linear but for a constant: one step gives the slope
      Tensor moved = images.detach().add(step.view(images.sizes()));
      double slope = input(moved).sub(input(images.detach())).mul(weight).sum().item<double>();
      EXPECT_NEAR(images.grad().flatten()[i].item<double>(), slope, 1e-10) << i;
    }
  }
}

TEST(VisionEncoder, ThePreprocessorsNumbersAreTaken) {
  auto given = case_of("vision");
  auto usual = load("vision"), plain = load("vision", at::kFloat, "", R"({"do_normalize": false})");
  auto told =
      load("vision", at::kFloat, "",
           R"({"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]})");
  Tensor expected = usual->forward(given.at("images")).pooled;
  EXPECT_TRUE(told->forward(given.at("images")).pooled.equal(expected));
  EXPECT_GT(distance(plain->forward(given.at("images")).pooled, expected), 1e-3);
  auto message = testing::message_of([] { load("vision", at::kFloat, "", R"({"image_mean": [0.1, 0.2]})"); });
  EXPECT_NE(message.find("image_mean and image_std must have 3 numbers"), std::string::npos) << message;
}

TEST(VisionEncoder, WhatDoesNotFitIsNamed) {
  const std::vector<std::tuple<const char*, const char*, nlohmann::json>> cases = {
      {"vision", "hidden_act", "gelo"},     {"vision", "patch_size", 9},
      {"vision", "num_channels", 4},        {"vision", "use_rope", true},
      {"vision", "attention_dropout", 0.1}, {"vit_grey", "patch_size", 3},
      {"vit_grey", "hidden_act", "geluu"},  {"vit_grey", "hidden_dropout_prob", 0.1}};
  for (const auto& [name, key, value] : cases) {
    auto config = nlohmann::json::parse(config_of(name));
    config[key] = value;
    auto message = testing::message_of([&, n = name] { load(n, at::kFloat, config.dump()); });
    EXPECT_NE(message.find(std::string("`") + key + "`"), std::string::npos) << key << ": " << message;
  }
  auto tensors = load_hf_tensors(directory_of("vision"));
  tensors.erase("pre_layrnorm.bias");
  auto message = testing::message_of(
      [&] { make_vision_encoder(config_of("vision"), "", WeightSource(tensors, at::kFloat, "here"), "here"); });
  EXPECT_NE(message.find("'pre_layrnorm.bias' is missing"), std::string::npos) << message;
  message = testing::message_of([] { load("vision")->forward(at::zeros({1, 4, 8, 8})); });
  EXPECT_NE(message.find("got [1, 4, 8, 8]"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::vision_encoder_test
