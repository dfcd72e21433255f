// EsmForMaskedLM and EsmForSequenceClassification against transformers.
#include <ATen/ATen.h>

#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "rft/nn/token_denoiser.h"
#include "support.h"

namespace rft::esm_test {
namespace {

std::string directory(const std::string& name) { return testing::fixture("parity/data/esm/" + name); }
std::string config(const std::string& name) { return testing::read_file(directory(name) + "/config.json"); }
WeightSource source(const std::string& name) {
  return WeightSource(load_hf_tensors(directory(name)), at::kFloat, directory(name));
}
double distance(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

/// Outputs of tokens and of distributions, and the gradients of the latter.
void check(const std::string& name, const Weights& weights, const std::function<Tensor(const Tensor&)>& logits) {
  auto given = load_safetensors(directory(name) + "/case.safetensors").tensors;
  EXPECT_LE(distance(logits(given.at("ids")), given.at("logits")), 2e-5);
  std::map<std::string, Tensor> named(weights.tensors.begin(), weights.tensors.end());
  Tensor embedding = named.at("esm.embeddings.word_embeddings.weight").requires_grad_();
  Tensor soft = given.at("soft").clone().requires_grad_(), mixed = logits(soft);
  EXPECT_LE(distance(mixed, given.at("mixed")), 2e-5);
  mixed.log_softmax(-1).select(-1, 1).sum().backward();
  EXPECT_LE(distance(soft.grad(), given.at("grad.soft")), 1e-4);
  EXPECT_LE(distance(embedding.grad(), given.at("grad.embedding")), 1e-4);
}

TEST(Esm, TheMaskedLanguageModelIsTransformers) {
  auto model = make_token_denoiser(config("masked_lm"), source("masked_lm"), "esm");
  EXPECT_EQ(model->vocab_size(), 6);
  EXPECT_EQ(model->mask_id(), 5);
  EXPECT_EQ(model->pad_id(), 0);
  EXPECT_EQ(model->max_length(), 16);
  check("masked_lm", model->weights(), [&](const Tensor& x) { return model->logits(model->features(x)); });
}

TEST(Esm, TheClassifierIsTransformers) {
  auto model = make_sequence_classifier(config("classifier"), source("classifier"), "esm");
  EXPECT_EQ(model->labels().size(), 3);
  check("classifier", model->weights(), [&](const Tensor& x) { return model->logits(x); });
}

TEST(Esm, OtherModelsAreRefusedByName) {
  auto refused = [](const std::string& from, const std::string& to) {
    std::string json = config("masked_lm");
    json.replace(json.find(from), from.size(), to);
    return testing::message_of([&] { make_token_denoiser(json, WeightSource::random(at::kFloat, 1), "here"); });
  };
  EXPECT_NE(refused("EsmForMaskedLM", "BertForMaskedLM").find("EsmForMaskedLM"), std::string::npos);
  EXPECT_NE(refused("\"rotary\"", "\"absolute\"").find("position_embedding_type"), std::string::npos);
  EXPECT_NE(refused("\"token_dropout\": false", "\"token_dropout\": true").find("token_dropout"), std::string::npos);
  EXPECT_NE(refused("\"mask_token_id\": 5", "\"mask_token_id\": 9").find("mask_token_id"), std::string::npos);
  auto model = make_token_denoiser(config("masked_lm"), source("masked_lm"), "esm");
  auto message = testing::message_of([&] { model->features(at::ones({1, 17}, at::kLong)); });
  EXPECT_NE(message.find("at most 16 tokens"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::esm_test
