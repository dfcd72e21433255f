// Autoencoders against diffusers: both directions, their gradients, names, and what is refused.
#include "rft/nn/image_codec.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::image_codec_test {
namespace {

constexpr char kStem[] = "diffusion_pytorch_model";

using Tensors = std::map<std::string, Tensor>;

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/encoders/" + name); }
std::string config_of(const std::string& name) { return testing::read_file(directory_of(name) + "/config.json"); }
Tensors case_of(const std::string& name) { return load_safetensors(directory_of(name) + "/case.safetensors").tensors; }

std::unique_ptr<ImageCodec> load(const std::string& name, const std::string& config = "") {
  std::string directory = directory_of(name);
  return make_image_codec(config.empty() ? config_of(name) : config,
                          WeightSource(load_hf_tensors(directory, kStem), at::kFloat, directory), directory);
}

double distance(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

struct Judged {
  Tensor encoded, decoded;
  Tensors grads;
};

Judged judge(ImageCodec& model, const Tensors& given) {
  for (const auto& [name, value] : model.weights().tensors) Tensor(value).requires_grad_(true);
  Tensor images = given.at("images").clone().requires_grad_(), latents = given.at("latents").clone().requires_grad_();
  Judged out;
  out.encoded = model.encode(images), out.decoded = model.decode(latents);
  out.encoded.mul(given.at("direction")).sum().backward();
  out.decoded.mul(given.at("direction_back")).sum().backward();
  out.grads["grad.images"] = images.grad(), out.grads["grad.latents"] = latents.grad();
  for (const auto& [name, value] : model.weights().tensors) out.grads["grad." + name] = value.grad();
  return out;
}

class Codecs : public ::testing::TestWithParam<const char*> {};

TEST_P(Codecs, GiveDiffusersOutputsAndGradients) {
  auto given = case_of(GetParam());
  auto model = load(GetParam());
  EXPECT_EQ(model->latent_channels(), given.at("encoded").size(1));
  EXPECT_EQ(model->scale_factor(), given.at("images").size(2) / given.at("encoded").size(2));
  Judged got = judge(*model, given);
  EXPECT_LE(distance(got.encoded, given.at("encoded")), 1e-5);
  EXPECT_LE(distance(got.decoded, given.at("decoded")), 1e-5);
  int compared = 0;
  for (const auto& [name, value] : given)
    if (name.starts_with("grad.")) {
      EXPECT_LE(distance(got.grads.at(name), value), 2e-5 * (1 + value.abs().max().item<double>())) << name;
      ++compared;
    }
  EXPECT_GE(compared, 4);
}

TEST_P(Codecs, CheckpointingChangesNoGradient) {
  auto given = case_of(GetParam());
  auto plain = load(GetParam()), again = load(GetParam());
  again->set_gradient_checkpointing(true);
  Judged expected = judge(*plain, given), got = judge(*again, given);
  EXPECT_TRUE(got.decoded.equal(expected.decoded));
  for (const auto& [name, value] : expected.grads) {
    ASSERT_TRUE(value.defined()) << name;
    EXPECT_LE(distance(got.grads.at(name), value), 1e-5 * (1 + value.abs().max().item<double>())) << name;
  }
}

TEST_P(Codecs, AnUntrainedOneHasDiffusersTensors) {
  auto shapes = nlohmann::json::parse(testing::read_file(directory_of(GetParam()) + "/shapes.json"));
  auto model = make_image_codec(config_of(GetParam()), WeightSource::random(at::kFloat, 1), "random");
  EXPECT_EQ(model->weights().tensors.size(), shapes.size());
  for (const auto& [name, value] : model->weights().tensors) {
    ASSERT_TRUE(shapes.contains(name)) << name;
    EXPECT_EQ(value.sizes().vec(), shapes[name].get<std::vector<int64_t>>()) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Codecs, ::testing::Values("kl", "kl_flux", "kl_no_attention", "tiny"));

TEST(AutoencoderKL, AnOldDirectorysAttentionIsTakenUnderTodaysNames) {
  auto given = case_of("kl");
  auto tensors = load_hf_tensors(directory_of("kl"), kStem);
  const std::map<std::string, std::string> old = {
      {"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}};
  for (const std::string half : {"encoder", "decoder"})
    for (const auto& [today, before] : old)
      for (const std::string end : {".weight", ".bias"}) {
        auto entry = tensors.extract(half + ".mid_block.attentions.0." + today + end);
        ASSERT_FALSE(entry.empty());
        entry.key() = half + ".mid_block.attentions.0." + before + end;
        tensors.insert(std::move(entry));
      }
  auto model = make_image_codec(config_of("kl"), WeightSource(tensors, at::kFloat, "old"), "old");
  EXPECT_LE(distance(model->decode(given.at("latents")), given.at("decoded")), 1e-5);
  for (const auto& [name, value] : model->weights().tensors) EXPECT_EQ(name.find("proj_attn"), std::string::npos);
}

TEST(ImageCodec, TensorsThatDoNotFitAreNamed) {
  auto tensors = load_hf_tensors(directory_of("kl"), kStem);
  tensors.erase("quant_conv.bias");
  tensors["decoder.conv_out.weight"] = at::zeros({1, 4, 3, 3});
  tensors["encoder.extra"] = at::zeros({1});
  auto message = testing::message_of(
      [&] { make_image_codec(config_of("kl"), WeightSource(tensors, at::kFloat, "here"), "here"); });
  for (const char* part : {"'quant_conv.bias' is missing", "'decoder.conv_out.weight' must be [3, 4, 3, 3]",
                           "'encoder.extra' belongs to no layer"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(ImageCodec, SettingsThatAreNotSupportedAreNamed) {
  const std::vector<std::tuple<const char*, const char*, nlohmann::json>> cases = {
      {"kl", "latents_mean", {0.1, 0.2, 0.3, 0.4}},
      {"kl", "down_block_types", {"DownEncoderBlock2D", "AttnDownEncoderBlock2D"}},
      {"kl", "up_block_types", {"UpDecoderBlock2D"}},
      {"kl", "block_out_channels", {4, 7}},
      {"kl", "act_fn", "silo"},
      {"kl", "new_setting", 1},
      {"tiny", "upsample_fn", "bilinear"},
      {"tiny", "upsampling_scaling_factor", 4},
      {"tiny", "encoder_block_out_channels", {4, 4, 8}},
      {"tiny", "num_decoder_blocks", {1, 1}},
  };
  for (const auto& [name, key, value] : cases) {
    auto config = nlohmann::json::parse(config_of(name));
    config[key] = value;
    auto message = testing::message_of([&] { load(name, config.dump()); });
    EXPECT_NE(message.find(std::string("`") + key + "`"), std::string::npos) << key << ": " << message;
  }
  auto message = testing::message_of([] { load("kl", R"({"_class_name": "AutoencoderKl"})"); });
  EXPECT_NE(message.find("did you mean 'AutoencoderKL'"), std::string::npos) << message;
}

TEST(ImageCodec, SizesThatDoNotFitAreNamed) {
  auto model = load("tiny");
  auto message = testing::message_of([&] { model->encode(at::zeros({1, 3, 8, 10})); });
  EXPECT_NE(message.find("H and W multiples of 4; got [1, 3, 8, 10]"), std::string::npos) << message;
  message = testing::message_of([&] { model->decode(at::zeros({1, 3, 2, 2})); });
  EXPECT_NE(message.find("latents must be [N, 4, h, w]; got [1, 3, 2, 2]"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::image_codec_test
