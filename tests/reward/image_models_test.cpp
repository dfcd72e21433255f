// Rewards by vision models against transformers (tests/parity/make_image_rewards.py).
#include <nlohmann/json.hpp>

#include "image_support.h"
#include "rft/reward/vision_rewards.h"

namespace rft::image_models_test {
namespace {

using testing::image_data;
using testing::message_of;
using testing::peer;
using testing::pictures;

std::vector<std::string> texts(const char* name) {
  return nlohmann::json::parse(testing::read_file(image_data("values.json"))).at(name);
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Values and the gradient of their sum are the peer's.
void expect_peer(RewardModel& model, Experience batch, const std::string& name) {
  Tensor images = peer("images").clone().requires_grad_(true);
  batch.extra.set(extra::image, images);
  Rewards rewards = model.score(batch);
  EXPECT_TRUE(rewards.value.allclose(peer(name), 1e-5, 2e-4)) << name << rewards.value << peer(name);
  rewards.value.sum().backward();
  Tensor gradient = peer(name + ".grad");
  double scale = gradient.abs().max().item<double>();
  EXPECT_GT(scale, 0) << name;
  EXPECT_LT((images.grad() - gradient).abs().max().item<double>() / scale, 1e-3) << name;
}

TEST(ImageClassifierReward, IsTransformersForEveryScore) {
  auto batch = pictures(peer("images"), "class_label", texts("classes"));
  for (const char* score : {"log_probability", "probability"}) {
    ImageClassifierReward model({.path = image_data("classifier"), .score = score});
    EXPECT_EQ(model.columns(), std::vector<std::string>{"class_label"});
    expect_peer(model, batch, score);
  }
  for (const char* target : {"7up", "1"}) {
    ImageClassifierReward fixed({.path = image_data("classifier"), .target = target, .score = "logit"});
    EXPECT_TRUE(fixed.columns().empty());
    expect_peer(fixed, batch, "logit");
  }
  ImageClassifierReward regressor({.path = image_data("regressor"), .score = "value"});
  expect_peer(regressor, batch, "value");
}

TEST(ImageClassifierReward, PartsOfABatchGiveTheSame) {
  auto batch = pictures(peer("images"), "class_label", texts("classes"));
  ImageClassifierReward model({.path = image_data("classifier"), .score = "logit", .batch_size = 3});
  ImageClassifierReward whole({.path = image_data("classifier"), .score = "logit"});
  EXPECT_TRUE(model.score(batch).value.allclose(whole.score(batch).value, 1e-5, 1e-6));
}

TEST(ImageClassifierReward, AnUnknownClassIsThatRowsError) {
  ImageClassifierReward model({.path = image_data("classifier")});
  Rewards rewards = model.score(pictures(peer("images"), "class_label", {"owl", "owls", "3", ""}));
  EXPECT_TRUE(rewards.value.isnan().equal(at::tensor({0, 1, 1, 1}).to(at::kBool))) << rewards.value;
  EXPECT_TRUE(holds(rewards.errors[1], "did you mean 'owl'")) << rewards.errors[1];
  EXPECT_TRUE(holds(rewards.errors[2], "0 .. 2") && holds(rewards.errors[2], "'3'")) << rewards.errors[2];
}

TEST(ImageClassifierReward, RefusesOptionsThatDoNotGoWithTheModel) {
  auto message = [](const ImageClassifierReward::Options& options) {
    return message_of([&] { ImageClassifierReward model(options); });
  };
  std::string text = message({.path = image_data("regressor")});
  EXPECT_TRUE(holds(text, "image_classifier.score")) << text;
  text = message({.path = image_data("classifier"), .score = "value"});
  EXPECT_TRUE(holds(text, "image_classifier.score")) << text;
  text = message({.path = image_data("classifier"), .target = "3"});
  EXPECT_TRUE(holds(text, "image_classifier.target] must be in 0 .. 2; got 3")) << text;
  text = message({.path = image_data("clip")});
  EXPECT_TRUE(holds(text, "no classification head")) << text;
  text = message({.path = image_data("png")});
  EXPECT_TRUE(holds(text, "image_classifier.path") && holds(text, "config.json")) << text;
}

TEST(ClipSimilarity, IsTransformers) {
  ClipSimilarity model({.path = image_data("clip")});
  expect_peer(model, pictures(peer("images"), "prompt", texts("prompts")), "clip_similarity");
}

TEST(ClipSimilarity, CutsLongTextsAndRefusesEmptyOnes) {
  ClipSimilarity model({.path = image_data("clip")});
  std::string longer = "red";
  for (int i = 0; i < 200; ++i) longer += " apple";
  Rewards rewards = model.score(pictures(peer("images"), "prompt", {longer, longer + " apple", "", "red"}));
  EXPECT_TRUE(rewards.value.isnan().equal(at::tensor({0, 0, 1, 0}).to(at::kBool))) << rewards.value;
  EXPECT_TRUE(holds(rewards.errors[2], "column 'prompt'")) << rewards.errors[2];
}

TEST(Aesthetic, IsTransformers) {
  Aesthetic model({.path = image_data("clip"), .head = image_data("head.safetensors")});
  expect_peer(model, pictures(peer("images")), "aesthetic");
}

TEST(Aesthetic, RefusesHeadsThatDoNotFit) {
  testing::TempDir dir;
  auto message = [&](const std::map<std::string, Tensor>& head) {
    save_safetensors(dir / "head.safetensors", head);
    return message_of([&] { Aesthetic({.path = image_data("clip"), .head = dir / "head.safetensors"}); });
  };
  EXPECT_TRUE(holds(message({{"layers.0.weight", at::zeros({1, 5})}}), "takes 5 numbers"));
  EXPECT_TRUE(holds(message({{"layers.0.weight", at::zeros({2, 12})}}), "must give one number; it gives 2"));
  EXPECT_TRUE(holds(message({{"layers.0.bias", at::zeros({1})}}), "layers.0.weight must be [out, in]; it is missing"));
  EXPECT_TRUE(holds(message({{"layers.0.weight", at::zeros({1, 12})}, {"layers.0.bias", at::zeros({2})}}),
                    "layers.0.bias must be [1]; it is [2]"));
  EXPECT_TRUE(holds(message({{"head.weight", at::zeros({1, 12})}}), "got head.weight"));
}

TEST(FeatureCosine, IsTransformers) {
  FeatureCosine model({.path = image_data("clip"), .directory = image_data("png")});
  auto files = {std::string("square_a.png"), std::string("square_b.png")};
  std::vector<std::string> column(files);
  column.insert(column.end(), files);
  expect_peer(model, pictures(peer("images"), "reference", column), "feature_cosine");
}

TEST(FeatureCosine, OtherSizesAreResizedAndCropped) {
  FeatureCosine model({.path = image_data("clip"), .directory = image_data("png")});
  Tensor value = model.score(pictures(peer("wide"), "reference", {"square_a.png"})).value;
  EXPECT_TRUE(value.allclose(peer("wide.cosine"), 0, 2e-4)) << value << peer("wide.cosine");
}

TEST(FeatureCosine, APictureResemblesItselfMost) {
  FeatureCosine model({.path = image_data("clip"), .directory = image_data("png")});
  Experience batch = pictures(peer("wide"));
  batch.context.set("reference", peer("wide"));
  EXPECT_NEAR(model.score(batch).value.item<double>(), 1, 1e-5);
  Rewards rewards = model.score(pictures(peer("images"), "reference", {"square_a.png", "none.png", "rgb.png", ""}));
  EXPECT_TRUE(rewards.value.isnan().equal(at::tensor({0, 1, 0, 1}).to(at::kBool))) << rewards.value;
}

}  // namespace
}  // namespace rft::image_models_test
