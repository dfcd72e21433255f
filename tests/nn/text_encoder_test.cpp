// CLIP's text tower against transformers.
#include "rft/nn/text_encoder.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::text_encoder_test {
namespace {

using Tensors = std::map<std::string, Tensor>;

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/encoders/" + name); }
std::string config_of(const std::string& name) { return testing::read_file(directory_of(name) + "/config.json"); }
Tensors case_of(const std::string& name) { return load_safetensors(directory_of(name) + "/case.safetensors").tensors; }

std::unique_ptr<TextEncoder> load(const std::string& name, const std::string& config = "") {
  std::string directory = directory_of(name);
  return make_text_encoder(config.empty() ? config_of(name) : config,
                           WeightSource(load_hf_tensors(directory), at::kFloat, directory), directory);
}

double distance(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

class TextEncoders : public ::testing::TestWithParam<const char*> {};

TEST_P(TextEncoders, GiveTransformersOutputsAndGradients) {
  auto given = case_of(GetParam());
  auto model = load(GetParam());
  Tensors weights(model->weights().tensors.begin(), model->weights().tensors.end());
  for (auto& [name, value] : weights) value.requires_grad_(true);
  auto out = model->forward(given.at("ids"));
  EXPECT_LE(distance(out.hidden, given.at("hidden")), 1e-5);
  EXPECT_LE(distance(out.penultimate, given.at("penultimate")), 1e-5);
  EXPECT_LE(distance(out.pooled, given.at("pooled")), 1e-5);
  out.pooled.square().sum().add(out.hidden.sin().sum()).add(out.penultimate.sum()).backward();
  int compared = 0;
  for (const auto& [name, value] : given)
    if (name.starts_with("grad.")) {
      Tensor grad = weights.at(name.substr(5)).grad();
      EXPECT_LE(distance(grad, value), 2e-5 * (1 + value.abs().max().item<double>())) << name;
      ++compared;
    }
  EXPECT_GE(compared, 4);
}

TEST_P(TextEncoders, AnUntrainedOneHasTransformersTensors) {
  auto shapes = nlohmann::json::parse(testing::read_file(directory_of(GetParam()) + "/shapes.json"));
  auto model = make_text_encoder(config_of(GetParam()), WeightSource::random(at::kFloat, 1), "random");
  EXPECT_EQ(model->weights().tensors.size(), shapes.size());
  for (const auto& [name, value] : model->weights().tensors) {
    ASSERT_TRUE(shapes.contains(name)) << name;
    EXPECT_EQ(value.sizes().vec(), shapes[name].get<std::vector<int64_t>>()) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TextEncoders, ::testing::Values("text", "text_projection"));

TEST(TextEncoder, LaterTokensDoNotChangeEarlierOnes) {
  auto model = load("text_projection");
  Tensor ids = case_of("text_projection").at("ids"), changed = ids.clone();
  changed.select(1, 4).fill_(9);
  Tensor before = model->forward(ids).hidden, after = model->forward(changed).hidden;
  EXPECT_TRUE(before.narrow(1, 0, 4).equal(after.narrow(1, 0, 4)));
  EXPECT_FALSE(before.select(1, 4).equal(after.select(1, 4)));
}

TEST(TextEncoder, AnOldDirectorysPrefixAndPositionsAreTaken) {
  auto given = case_of("text");
  Tensors old;
  for (const auto& [name, value] : load_hf_tensors(directory_of("text"))) old["text_model." + name] = value;
  old["text_model.embeddings.position_ids"] = at::arange(9).unsqueeze(0);
  auto model = make_text_encoder(config_of("text"), WeightSource(old, at::kFloat, "old"), "old");
  EXPECT_LE(distance(model->forward(given.at("ids")).pooled, given.at("pooled")), 1e-5);
}

TEST(TextEncoder, AWholeClipModelGivesItsTextPart) {
  auto given = case_of("clip");
  auto model = load("clip");
  EXPECT_LE(distance(model->forward(given.at("ids")).pooled, given.at("text_embeds")), 1e-5);
  for (const auto& [name, value] : model->weights().tensors) EXPECT_TRUE(name.starts_with("text_")) << name;
}

/// config.json as transformers 4 wrote it for CLIPModel: every general field in each part, and text_config_dict.
TEST(TextEncoder, AnOldClipConfigurationIsRead) {
  auto config = nlohmann::json::parse(config_of("clip"));
  for (const char* part : {"text_config", "vision_config"}) {
    config[part].update({{"_name_or_path", ""},
                         {"add_cross_attention", false},
                         {"architectures", nullptr},
                         {"chunk_size_feed_forward", 0},
                         {"diversity_penalty", 0.0},
                         {"dropout", 0.0},
                         {"id2label", {{"0", "LABEL_0"}}},
                         {"is_decoder", false},
                         {"max_length", 20},
                         {"pruned_heads", nlohmann::json::object()},
                         {"top_k", 50},
                         {"torchscript", false}});
    config[std::string(part) + "_dict"] = nullptr;
  }
  config["text_config_dict"] = config["text_config"];
  config["text_config"]["hidden_act"] = "gelu";  // overruled
  auto given = case_of("clip");
  EXPECT_LE(distance(load("clip", config.dump())->forward(given.at("ids")).pooled, given.at("text_embeds")), 1e-5);
}

TEST(TextEncoder, WhatDoesNotFitIsNamed) {
  auto tensors = load_hf_tensors(directory_of("text"));
  tensors.erase("final_layer_norm.bias");
  tensors["vision_model.extra"] = at::zeros({1});
  auto message = testing::message_of(
      [&] { make_text_encoder(config_of("text"), WeightSource(tensors, at::kFloat, "here"), "here"); });
  for (const char* part : {"'final_layer_norm.bias' is missing", "'vision_model.extra' belongs to no layer"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  const std::vector<std::pair<const char*, nlohmann::json>> cases = {
      {"hidden_act", "gelo"},   {"attention_dropout", 0.1}, {"num_attention_heads", 3},
      {"eos_token_id", {1, 2}}, {"is_decoder", true},       {"rope_theta", 1e4}};
  for (const auto& [key, value] : cases) {
    auto config = nlohmann::json::parse(config_of("text"));
    config[key] = value;
    message = testing::message_of([&] { load("text", config.dump()); });
    EXPECT_NE(message.find(std::string("`") + key + "`"), std::string::npos) << key << ": " << message;
  }
  message = testing::message_of([] { load("text", R"({"architectures": ["ClipTextModel"]})"); });
  EXPECT_NE(message.find("did you mean 'CLIPTextModel'"), std::string::npos) << message;
}

TEST(TextEncoder, IdsThatDoNotFitAreNamed) {
  auto model = load("text");
  EXPECT_EQ(model->max_positions(), 9);
  auto message = testing::message_of([&] { model->forward(at::zeros({1, 10}, at::kLong)); });
  EXPECT_NE(message.find("L in 1 .. 9; got [1, 10]"), std::string::npos) << message;
  message = testing::message_of([&] { model->forward(at::full({1, 3}, 40, at::kLong)); });
  EXPECT_NE(message.find("must be in 0 .. 39; got 40"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::text_encoder_test
