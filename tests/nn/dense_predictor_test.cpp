// Segmentation and depth models against transformers (tests/parity/make_dense.py).
#include "rft/nn/dense_predictor.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "nn/dense_predictors.h"
#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::dense_predictor_test {
namespace {

using nlohmann::json;
using Tensors = std::map<std::string, Tensor>;

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/dense/" + name); }
json config_of(const std::string& name) { return json::parse(testing::read_file(directory_of(name) + "/config.json")); }
json preprocessor_of(const std::string& name) {
  return json::parse(testing::read_file(directory_of(name) + "/preprocessor_config.json"));
}
Tensors case_of(const std::string& name) { return load_safetensors(directory_of(name) + "/case.safetensors").tensors; }

std::unique_ptr<DensePredictor> load(const std::string& name, at::ScalarType dtype = at::kFloat, json config = {},
                                     json preprocessor = {}) {
  if (config.is_null()) config = config_of(name);
  if (preprocessor.is_null()) preprocessor = preprocessor_of(name);
  return make_dense_predictor(config.dump(), preprocessor.dump(),
                              WeightSource(load_hf_tensors(directory_of(name)), dtype, directory_of(name)),
                              directory_of(name));
}

double distance(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

class DensePredictors : public ::testing::TestWithParam<const char*> {};

TEST_P(DensePredictors, GiveTransformersMapsAndGradients) {
  auto given = case_of(GetParam());
  auto model = load(GetParam());
  Tensors weights(model->weights().tensors.begin(), model->weights().tensors.end());
  for (auto& [name, value] : weights)
    if (!model->weights().buffers.count(name)) value.requires_grad_(true);
  Tensor images = given.at("images").clone().requires_grad_();
  Tensor maps = model->forward(images);
  ASSERT_EQ(maps.sizes(), given.at("output").sizes());
  EXPECT_LE(distance(maps, given.at("output")), 2e-5);
  maps.sin().sum().backward();
  int compared = 0;
  for (const auto& [name, value] : given)
    if (name.starts_with("grad.")) {
      Tensor grad = name == "grad.images" ? images.grad() : weights.at(name.substr(5)).grad();
      EXPECT_LE(distance(grad, value), 2e-5 * (1 + value.abs().max().item<double>())) << name;
      ++compared;
    }
  EXPECT_GE(compared, 3);
}

TEST_P(DensePredictors, AnUntrainedOneHasTransformersTensors) {
  auto tensors = load_hf_tensors(directory_of(GetParam()));
  // Counts of training steps and what hides patches in pretraining change no map.
  std::erase_if(tensors, [](const auto& entry) {
    return entry.first.ends_with("num_batches_tracked") || entry.first.ends_with("mask_token");
  });
  auto model = make_dense_predictor(config_of(GetParam()).dump(), "", WeightSource::random(at::kFloat, 1), "random");
  EXPECT_EQ(model->weights().tensors.size(), tensors.size());
  for (const auto& [name, value] : model->weights().tensors) {
    ASSERT_TRUE(tensors.count(name)) << name;
    EXPECT_EQ(value.sizes(), tensors.at(name).sizes()) << name;
  }
}

TEST_P(DensePredictors, TheirGradientsInTheImagesAreTheSlopes) {
  auto model = load(GetParam(), at::kDouble);
  Tensor images = case_of(GetParam()).at("images").to(at::kDouble).requires_grad_();
  Tensor direction = at::arange(images.numel(), at::kDouble).sin().view(images.sizes());
  auto loss = [&](const Tensor& x) { return model->forward(x).sin().sum(); };
  loss(images).backward();
  constexpr double kStep = 1e-7;
  double slope = loss(images.detach().add(direction, kStep)).item<double>() -
                 loss(images.detach().sub(direction, kStep)).item<double>();
  double gradient = images.grad().mul(direction).sum().item<double>();
  EXPECT_NEAR(gradient, slope / (2 * kStep), 1e-5 * (1 + std::abs(gradient)));
}

INSTANTIATE_TEST_SUITE_P(All, DensePredictors, ::testing::Values("segformer", "dpt", "dpt_norms", "depth_anything"));

TEST(Segformer, NamesItsClasses) {
  EXPECT_EQ(load("segformer")->labels().size(), 5u);
  EXPECT_EQ(load("segformer")->labels()[1], "LABEL_1");
  EXPECT_TRUE(load("dpt")->labels().empty());
}

TEST(Segformer, ASmallImageIsNamed) {
  auto preprocessor = preprocessor_of("segformer");
  preprocessor["do_resize"] = false;
  auto model = load("segformer", at::kFloat, {}, preprocessor);
  EXPECT_EQ(model->forward(at::zeros({1, 3, 32, 20})).sizes(), (at::IntArrayRef{1, 5, 8, 5}));
  auto message = testing::message_of([&] { model->forward(at::zeros({1, 3, 8, 8})); });
  EXPECT_NE(message.find("too small for sr_ratios"), std::string::npos) << message;
}

TEST(DepthAnything, OfMetricDepthIsASigmoid) {
  auto given = case_of("depth_anything");
  auto config = config_of("depth_anything");
  config["depth_estimation_type"] = "metric", config["max_depth"] = 20;
  Tensor depth = load("depth_anything", at::kFloat, config)->forward(given.at("images"));
  EXPECT_LE(distance(depth, given.at("metric")), 2e-4);  // of 20 metres
}

TEST(DenseInput, KeepsTheAspectRatioAsTransformersDoes) {
  DenseInput input{.height = 12, .width = 12, .keep_ratio = true, .multiple = 4};
  input.pixels.mean = {0, 0, 0}, input.pixels.std = {1, 1, 1};
  auto sides = [&](int64_t height, int64_t width) { return input(at::zeros({1, 3, height, width})).sizes().vec(); };
  EXPECT_EQ(sides(24, 24), (std::vector<int64_t>{1, 3, 12, 12}));
  EXPECT_EQ(sides(10, 13), (std::vector<int64_t>{1, 3, 8, 12}));   // scale 12 / 13; 9.2 is rounded to 8
  EXPECT_EQ(sides(20, 26), (std::vector<int64_t>{1, 3, 12, 16}));  // scale 12 / 20
  input.keep_ratio = false;
  EXPECT_EQ(sides(20, 26), (std::vector<int64_t>{1, 3, 12, 12}));
}

/// A fixture, a field of its config and a value that is refused.
const std::vector<std::tuple<const char*, const char*, json>> kRefused = {
    {"segformer", "hidden_act", "gelo"},
    {"segformer", "use_rope", true},
    {"segformer", "hidden_dropout_prob", 0.1},
    {"segformer", "num_attention_heads", {1, 4, 4}},
    {"segformer", "depths", {1, 1}},
    {"segformer", "num_channels", 4},
    {"dpt", "is_hybrid", true},
    {"dpt", "backbone_config", {{"model_type", "dinov2"}}},
    {"dpt", "backbone", "resnet50"},
    {"dpt", "add_projection", true},
    {"dpt", "readout_type", "mean"},
    {"dpt", "backbone_out_indices", {0, 1}},
    {"dpt", "backbone_out_indices", {0, 1, 4}},
    {"dpt", "reassemble_factors", {4, 1, 0.4}},
    {"dpt", "head_in_index", 0},
    {"dpt", "patch_size", 5},
    {"dpt", "scale_tokens", 2},
    {"depth_anything", "depth_estimation_type", "log"},
    {"depth_anything", "reassemble_hidden_size", 9},
    {"depth_anything", "backbone_config", nullptr},
    {"depth_anything", "patch_size", 14}};

TEST(DensePredictor, WhatDoesNotFitTheConfigIsNamed) {
  for (const auto& [name, key, value] : kRefused) {
    auto config = config_of(name);
    config[key] = value;
    auto message = testing::message_of([&, n = name] { load(n, at::kFloat, config); });
    EXPECT_NE(message.find(std::string("`") + key + "`"), std::string::npos) << key << ": " << message;
  }
  auto config = config_of("depth_anything");
  for (auto [key, value] : {std::pair<const char*, json>{"use_swiglu_ffn", true}, {"model_type", "dinov3"}}) {
    config["backbone_config"] = config_of("depth_anything")["backbone_config"];
    config["backbone_config"][key] = value;
    auto message = testing::message_of([&] { load("depth_anything", at::kFloat, config); });
    EXPECT_NE(message.find(std::string("backbone_config] `") + key + "`"), std::string::npos) << message;
  }
}

TEST(DensePredictor, TakesFieldsThatOlderVersionsWrote) {
  const std::vector<std::pair<const char*, json>> cases = {
      {"segformer", {{"downsampling_rates", {1, 4, 8}}, {"image_size", 224}, {"torch_dtype", "float32"}}},
      {"depth_anything", {{"backbone", nullptr}, {"use_pretrained_backbone", false}, {"_commit_hash", nullptr}}},
      {"dpt", {{"use_timm_backbone", false}, {"backbone_kwargs", nullptr}, {"backbone_featmap_shape", {1, 8, 3, 3}}}}};
  for (const auto& [name, fields] : cases) {
    auto config = config_of(name);
    config.update(fields);
    EXPECT_NO_THROW(load(name, at::kFloat, config)) << name;
  }
}

TEST(DensePredictor, WhatDoesNotFitThePreprocessorIsNamed) {
  const std::vector<std::pair<const char*, json>> cases = {
      {"resample", 1},          {"do_pad", true},           {"do_center_crop", true},         {"do_rescale", false},
      {"rescale_factor", 0.01}, {"size", {{"height", 12}}}, {"size", {{"shortest_edge", 8}}}, {"sharpen", true}};
  for (const auto& [key, value] : cases) {
    auto preprocessor = preprocessor_of("dpt");
    preprocessor[key] = value;
    auto message = testing::message_of([&] { load("dpt", at::kFloat, {}, preprocessor); });
    const char* named = value.contains("shortest_edge") ? "shortest_edge" : key;
    EXPECT_NE(message.find(std::string("`") + named + "`"), std::string::npos) << key << ": " << message;
  }
  auto preprocessor = preprocessor_of("dpt");
  preprocessor["size"] = 12;  // as older directories have it
  Tensor images = case_of("dpt").at("images");
  EXPECT_TRUE(load("dpt", at::kFloat, {}, preprocessor)->forward(images).equal(load("dpt")->forward(images)));
}

TEST(DensePredictor, WhatDoesNotFitTheTensorsIsNamed) {
  auto tensors = load_hf_tensors(directory_of("dpt"));
  tensors.erase("neck.convs.1.weight");
  tensors["neck.convs.9.weight"] = at::zeros({1});
  auto message = testing::message_of(
      [&] { make_dense_predictor(config_of("dpt").dump(), "", WeightSource(tensors, at::kFloat, "here"), "here"); });
  EXPECT_NE(message.find("'neck.convs.1.weight' is missing"), std::string::npos) << message;
  EXPECT_NE(message.find("'neck.convs.9.weight' belongs to no layer"), std::string::npos) << message;
  message = testing::message_of([] { load("dpt")->forward(at::zeros({1, 4, 8, 8})); });
  EXPECT_NE(message.find("got [1, 4, 8, 8]"), std::string::npos) << message;
}

TEST(DensePredictor, AnotherArchitectureIsNamed) {
  auto message = testing::message_of([] {
    make_dense_predictor(R"({"architectures": ["DPTForSemanticSegmentation"]})", "",
                         WeightSource::random(at::kFloat, 1), "here");
  });
  EXPECT_NE(message.find("[here] there is no segmentation or depth model 'DPTForSemanticSegmentation'"),
            std::string::npos)
      << message;
}

}  // namespace
}  // namespace rft::dense_predictor_test
