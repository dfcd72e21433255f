// ViTForImageClassification against transformers.
#include <ATen/ATen.h>

#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "rft/nn/vision_encoder.h"
#include "support.h"

namespace rft::vit_test {
namespace {

std::string directory() { return testing::fixture("parity/data/vit"); }

std::unique_ptr<VisionEncoder> load(at::ScalarType dtype = at::kFloat) {
  return make_vision_encoder(testing::read_file(directory() + "/config.json"),
                             testing::read_file(directory() + "/preprocessor_config.json"),
                             WeightSource(load_hf_tensors(directory()), dtype, directory()), directory());
}

double distance(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

TEST(Vit, GivesTransformersLogitsAndGradients) {
  auto given = load_safetensors(directory() + "/case.safetensors").tensors;
  auto model = load();
  std::map<std::string, Tensor> weights(model->weights().tensors.begin(), model->weights().tensors.end());
  for (auto& [name, value] : weights) value.requires_grad_(true);
  Tensor images = given.at("images").clone().requires_grad_();
  auto out = model->forward(images);
  EXPECT_LE(distance(out.hidden, given.at("hidden")), 1e-5);
  EXPECT_LE(distance(out.logits, given.at("logits")), 1e-5);
  out.logits.log_softmax(1).select(1, 1).sum().backward();
  EXPECT_LE(distance(images.grad(), given.at("grad.images")), 1e-5);
  EXPECT_LE(distance(weights.at("classifier.weight").grad(), given.at("grad.classifier.weight")), 1e-5);
  EXPECT_LE(distance(weights.at("vit.embeddings.cls_token").grad(), given.at("grad.vit.embeddings.cls_token")), 1e-5);
}

TEST(Vit, AnUntrainedOneHasTransformersTensors) {
  auto tensors = load_hf_tensors(directory());
  auto model = make_vision_encoder(testing::read_file(directory() + "/config.json"), "",
                                   WeightSource::random(at::kFloat, 1), "random");
  EXPECT_EQ(model->weights().tensors.size(), tensors.size());
  for (const auto& [name, value] : model->weights().tensors) EXPECT_EQ(value.sizes(), tensors.at(name).sizes()) << name;
}

TEST(Vit, AnUnknownArchitectureIsNamed) {
  auto message = testing::message_of([] {
    make_vision_encoder(R"({"architectures": ["ViTForImageClasification"]})", "", WeightSource::random(at::kFloat, 1),
                        "here");
  });
  EXPECT_NE(message.find("did you mean 'ViTForImageClassification'"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::vit_test
