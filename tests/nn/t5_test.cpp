// T5's encoder against transformers; fixtures by tests/parity/make_t5.py.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "rft/nn/text_encoder.h"
#include "support.h"

namespace rft::t5_test {
namespace {

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/t5/" + name); }
std::string config_of(const std::string& name) { return testing::read_file(directory_of(name) + "/config.json"); }

std::unique_ptr<TextEncoder> load(const std::string& name, const std::string& config,
                                  const std::map<std::string, Tensor>& more = {}) {
  auto tensors = load_hf_tensors(directory_of(name));
  tensors.insert(more.begin(), more.end());
  return make_text_encoder(config, WeightSource(tensors, at::kFloat, name), name);
}

class T5 : public ::testing::TestWithParam<const char*> {};

TEST_P(T5, GivesTransformersOutputsAndGradients) {
  auto given = load_safetensors(directory_of(GetParam()) + "/case.safetensors").tensors;
  auto model = load(GetParam(), config_of(GetParam()));
  std::map<std::string, Tensor> weights(model->weights().tensors.begin(), model->weights().tensors.end());
  for (auto& [name, value] : weights) value.requires_grad_(true);
  Tensor hidden = model->forward(given.at("ids")).hidden;
  EXPECT_LE(hidden.sub(given.at("hidden")).abs().max().item<double>(), 1e-5);
  hidden.square().sum().backward();
  int compared = 0;
  for (const auto& [name, value] : given)
    if (name.starts_with("grad.")) {
      EXPECT_TRUE(weights.at(name.substr(5)).grad().allclose(value, 1e-4, 1e-4)) << name;
      ++compared;
    }
  EXPECT_GE(compared, 6);
}

TEST_P(T5, AnUntrainedOneHasTransformersTensors) {
  auto shapes = nlohmann::json::parse(testing::read_file(directory_of(GetParam()) + "/shapes.json"));
  auto model = make_text_encoder(config_of(GetParam()), WeightSource::random(at::kFloat, 1), "random");
  EXPECT_EQ(model->weights().tensors.size(), shapes.size());
  for (const auto& [name, value] : model->weights().tensors) {
    ASSERT_TRUE(shapes.contains(name)) << name;
    EXPECT_EQ(value.sizes().vec(), shapes[name].get<std::vector<int64_t>>()) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, T5, ::testing::Values("gated", "relu"));

TEST(T5, TheEmbeddingsSecondNameAndADecoderArePassedOver) {
  auto shared = load_hf_tensors(directory_of("gated")).at("shared.weight");
  auto model = load("gated", config_of("gated"),
                    {{"encoder.embed_tokens.weight", shared}, {"decoder.block.0.layer.0.x", at::zeros({1})}});
  EXPECT_EQ(model->max_positions(), 0);
  EXPECT_EQ(model->weights().tensors.size(), load("gated", config_of("gated"))->weights().tensors.size());
}

TEST(T5, BadInputIsNamed) {
  auto changed = [](const std::string& key, const nlohmann::json& value) {
    auto config = nlohmann::json::parse(config_of("gated"));
    config[key] = value;
    return testing::message_of([&] { load("gated", config.dump()); });
  };
  EXPECT_NE(changed("feed_forward_proj", "gated-tanhh").find("feed_forward_proj"), std::string::npos);
  EXPECT_NE(changed("relative_attention_num_buckets", 6).find("multiple of 4"), std::string::npos);
  EXPECT_NE(changed("is_decoder", true).find("is_decoder"), std::string::npos);
  EXPECT_NE(changed("mystery", 1).find("mystery"), std::string::npos);
  EXPECT_NE(changed("d_ff", 24).find("DenseReluDense"), std::string::npos);
  auto model = load("gated", config_of("gated"));
  EXPECT_NE(testing::message_of([&] {
              model->forward(at::full({1, 3}, 150, at::kLong));
            }).find("0 .. 149"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::t5_test
