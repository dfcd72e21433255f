// U-Nets against diffusers: outputs, gradients, names, and what is refused.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "rft/nn/controlnet.h"
#include "support.h"

namespace rft::unet_test {
namespace {

constexpr char kStem[] = "diffusion_pytorch_model";

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/unets/" + name); }

std::unique_ptr<Denoiser> load(const std::string& name, at::ScalarType dtype = at::kFloat) {
  std::string directory = directory_of(name);
  auto out = make_denoiser(testing::read_file(directory + "/config.json"),
                           WeightSource(load_hf_tensors(directory, kStem), dtype, directory), directory);
  if (name.starts_with("motion")) out->set_frames(4);
  return out;
}

struct Judged {
  Tensor output;
  std::map<std::string, Tensor> grads;
};

Conditioning told_of(const std::map<std::string, Tensor>& given) {
  Conditioning told;
  told.class_labels = given.at("class_labels"), told.text = given.at("text");
  told.pooled = given.at("pooled"), told.time_ids = given.at("time_ids");
  if (given.count("control")) told.control = given.at("control");
  return told;
}

Judged judge(Denoiser& model, const std::map<std::string, Tensor>& given) {
  for (const auto& [name, value] : model.weights().tensors)
    Tensor(value).requires_grad_(true).mutable_grad() = Tensor();
  Conditioning told = told_of(given);
  Tensor sample = given.at("sample").clone().requires_grad_();
  Judged out;
  out.output = model.forward(sample, given.at("timestep"), told);
  out.output.mul(given.at("direction")).sum().backward();
  out.grads["grad.sample"] = sample.grad();
  for (const auto& [name, value] : model.weights().tensors) out.grads["grad." + name] = value.grad();
  return out;
}

class UNets : public ::testing::TestWithParam<const char*> {};

TEST_P(UNets, GiveDiffusersOutputsAndGradients) {
  auto given = load_safetensors(directory_of(GetParam()) + "/case.safetensors").tensors;
  auto model = load(GetParam());
  Judged got = judge(*model, given);
  EXPECT_LE(got.output.sub(given.at("output")).abs().max().item<double>(), 1e-5);
  for (const auto& [name, value] : given)
    if (name.starts_with("grad."))
      EXPECT_LE(got.grads.at(name).sub(value).abs().max().item<double>(), 1e-4 * (1 + value.abs().max().item<double>()))
          << name;
}

TEST_P(UNets, CheckpointingChangesNoGradient) {
  auto given = load_safetensors(directory_of(GetParam()) + "/case.safetensors").tensors;
  auto plain = load(GetParam()), again = load(GetParam());
  again->set_gradient_checkpointing(true);
  Judged expected = judge(*plain, given), got = judge(*again, given);
  EXPECT_TRUE(got.output.equal(expected.output));
  for (const auto& [name, value] : expected.grads)
    if (value.defined())
      EXPECT_LE(got.grads.at(name).sub(value).abs().max().item<double>(), 1e-5 * (1 + value.abs().max().item<double>()))
          << name;
}

TEST_P(UNets, AnUntrainedOneHasDiffusersTensors) {
  auto shapes = nlohmann::json::parse(testing::read_file(directory_of(GetParam()) + "/shapes.json"));
  auto model = make_denoiser(testing::read_file(directory_of(GetParam()) + "/config.json"),
                             WeightSource::random(at::kFloat, 1), "random");
  EXPECT_EQ(model->weights().tensors.size(), shapes.size());
  for (const auto& [name, value] : model->weights().tensors) {
    ASSERT_TRUE(shapes.contains(name)) << name;
    EXPECT_EQ(value.sizes().vec(), shapes[name].get<std::vector<int64_t>>()) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, UNets,
                         ::testing::Values("unet2d", "unet2d_shift", "sd15", "sdxl", "plain", "motion",
                                           "motion_plain_mid"));

std::unique_ptr<ControlNet> load_controlnet() {
  std::string directory = directory_of("controlnet");
  return make_controlnet(testing::read_file(directory + "/config.json"),
                         WeightSource(load_hf_tensors(directory, kStem), at::kFloat, directory), directory);
}

TEST(ControlNet, GivesDiffusersResidualsAndGradients) {
  auto given = load_safetensors(directory_of("controlnet") + "/case.safetensors").tensors;
  auto model = load_controlnet();
  std::map<std::string, Tensor> weights(model->weights().tensors.begin(), model->weights().tensors.end());
  for (auto& [name, value] : weights) value.requires_grad_(true);
  Tensor sample = given.at("sample").clone().requires_grad_();
  auto residuals = model->forward(sample, given.at("timestep"), told_of(given), 0.7);
  Tensor sum = residuals.mid.square().sum();
  for (size_t i = 0; i < residuals.down.size(); ++i) {
    EXPECT_LE(residuals.down[i].sub(given.at(cat("down.", i))).abs().max().item<double>(), 1e-5) << i;
    sum = sum.add(residuals.down[i].sum());
  }
  EXPECT_EQ(given.count(cat("down.", residuals.down.size())), 0u);
  EXPECT_LE(residuals.mid.sub(given.at("mid")).abs().max().item<double>(), 1e-5);
  sum.backward();
  weights["sample"] = sample;
  for (const auto& [name, value] : given)
    if (name.starts_with("grad."))
      EXPECT_LE(weights.at(name.substr(5)).grad().sub(value).abs().max().item<double>(),
                1e-4 * (1 + value.abs().max().item<double>()))
          << name;
  Tensor controlled = load("sd15")->forward(given.at("sample"), given.at("timestep"), told_of(given), &residuals);
  EXPECT_LE(controlled.sub(given.at("controlled")).abs().max().item<double>(), 1e-5);
}

TEST(ControlNet, MadeFromAUNetItChangesNothingAtFirst) {
  auto given = load_safetensors(directory_of("controlnet") + "/case.safetensors").tensors;
  auto unet = load("sd15");
  auto [config, tensors] = controlnet_from_unet(*unet, 3, {4, 6}, 1);
  auto shapes = nlohmann::json::parse(testing::read_file(directory_of("controlnet") + "/shapes.json"));
  EXPECT_EQ(tensors.size(), shapes.size());
  for (const auto& [name, value] : tensors)
    EXPECT_EQ(value.sizes().vec(), shapes.at(name).get<std::vector<int64_t>>()) << name;
  auto model = make_controlnet(config, WeightSource(tensors, at::kFloat, "made"), "made");
  auto residuals = model->forward(given.at("sample"), given.at("timestep"), told_of(given));
  Tensor with = unet->forward(given.at("sample"), given.at("timestep"), told_of(given), &residuals);
  EXPECT_TRUE(with.equal(unet->forward(given.at("sample"), given.at("timestep"), told_of(given))));
}

TEST(UNet, WhatDoesNotFitIsNamed) {
  std::string directory = directory_of("unet2d"), config = testing::read_file(directory + "/config.json");
  auto tensors = load_hf_tensors(directory, kStem);
  tensors.erase("conv_in.bias");
  tensors["conv_out.weight"] = at::zeros({2, 8, 3, 3});
  tensors["extra.weight"] = at::zeros({1});
  auto message = testing::message_of([&] { make_denoiser(config, WeightSource(tensors, at::kFloat, "here"), "here"); });
  for (const char* part : {"'conv_in.bias' is missing", "'conv_out.weight' must be [1, 8, 3, 3], is [2, 8, 3, 3]",
                           "'extra.weight' belongs to no layer"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  auto changed = nlohmann::json::parse(config);
  changed["time_embedding_type"] = "fourier";
  message = testing::message_of([&] { make_denoiser(changed.dump(), WeightSource::random(at::kFloat, 1), "here"); });
  EXPECT_NE(message.find("time_embedding_type"), std::string::npos) << message;
}

TEST(Motion, FramesAreThoseOfTheStripAndAreCounted) {
  Tensor strips = at::arange(2 * 3 * 8 * 2, at::kFloat).view({2, 3, 8, 2}), frames = film_frames(strips, 4);
  EXPECT_EQ(frames.sizes().vec(), (std::vector<int64_t>{8, 3, 2, 2}));
  EXPECT_TRUE(frames[5].equal(strips[1].narrow(1, 2, 2)));
  EXPECT_TRUE(film_strips(frames, 4).equal(strips));
  auto pictures = load("sd15");
  EXPECT_THROW(pictures->set_frames(2), UserError);
  auto model = load("motion");
  model->set_frames(7);
  Conditioning told;
  told.text = at::zeros({1, 5, 12});
  EXPECT_EQ(testing::message_of([&] {
              model->forward(at::zeros({1, 4, 56, 8}), at::zeros({1}), told);
            }),
            "[rollout.frames] the model makes videos of at most 6 frames; got 7");
}

}  // namespace
}  // namespace rft::unet_test
