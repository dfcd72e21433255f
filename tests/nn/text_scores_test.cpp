/// Reward models against transformers (tests/parity/make_reward_models.py).
#include "rft/nn/text_scores.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "support.h"

namespace rft::text_scores_test {
namespace {

Decoder load(const std::string& directory) {
  std::string file = directory + "/config.json";
  return Decoder(DecoderConfig::from_json(read_text(file), file), load_hf_tensors(directory), at::kFloat, directory);
}

const nlohmann::json& golden() {
  static const auto data =
      nlohmann::json::parse(testing::read_file(testing::fixture("parity/data/reward_models/scores.json")));
  return data;
}

TEST(TextScores, EqualThoseOfTransformersRowsPackedTogether) {
  at::NoGradGuard no_grad;
  for (const auto& [name, expected] : golden().at("scores").items()) {
    SCOPED_TRACE(name);
    Decoder model = load(testing::fixture("parity/data/reward_models/" + name));
    Packed packed;
    std::vector<int64_t> ids, index;
    std::vector<float> wanted;
    for (size_t i = 0; i < expected.size(); ++i) {
      auto row = golden().at("rows").at(i).get<std::vector<int64_t>>();
      auto start = static_cast<int64_t>(ids.size()), size = static_cast<int64_t>(row.size());
      ids.insert(ids.end(), row.begin(), row.end()), packed.lengths.push_back(size);
      for (int64_t t = model.config().head_bias ? 0 : size - 1; t < size; ++t) index.push_back(start + t);
      for (const auto& x : expected.at(i)) wanted.push_back(x.get<float>());
    }
    packed.ids = at::tensor(ids, at::kLong);
    Tensor got = text_scores(model, packed, at::tensor(index, at::kLong));
    ASSERT_EQ(got.numel(), static_cast<int64_t>(wanted.size()));
    EXPECT_LE(got.sub(at::tensor(wanted)).abs().max().item<double>(), 2e-5);
  }
}

TEST(TextScores, AreWrittenAsTheyWereRead) {
  for (const char* name : {"qwen2", "gpt2", "qwen3_steps"}) {
    std::string directory = testing::fixture(std::string("parity/data/reward_models/") + name);
    auto given = load_hf_tensors(directory), written = load(directory).hugging_face_tensors();
    ASSERT_EQ(given.size(), written.size()) << name;
    for (const auto& [key, value] : given) EXPECT_TRUE(value.equal(written.at(key))) << name << " " << key;
  }
}

TEST(TextScores, ALanguageModelGetsANewHead) {
  std::string text = R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 11,
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 32, "tie_word_embeddings": true})";
  Decoder model = random_decoder(DecoderConfig::from_json(text, "config.json"), at::kFloat, 3);
  for (bool every_token : {false, true}) {
    auto scorer = with_new_score_head(model, every_token, 7, at::kFloat, 5);
    auto json = nlohmann::json::parse(scorer->config().json);
    EXPECT_EQ(json["architectures"][0], every_token ? "Qwen2ForTokenClassification" : "Qwen2ForSequenceClassification");
    EXPECT_EQ(json["pad_token_id"], 7);
    EXPECT_EQ(scorer->weights().head.size(0), every_token ? 2 : 1);
    EXPECT_TRUE(scorer->weights().layers[0].qkv.weight.equal(model.weights().layers[0].qkv.weight));
    auto again = DecoderConfig::from_json(scorer->config().json, "config.json");
    EXPECT_EQ(again.labels, every_token ? 2 : 1);
    EXPECT_EQ(again.head_bias, every_token);
  }
}

TEST(TextScores, HeadsThatAreNoScoreAreRefused) {
  Decoder model = load(testing::fixture("parity/data/reward_models/qwen2"));
  auto three = with_new_score_head(model, false, 0, at::kFloat, 1);
  auto config = model.config().with_score_head(3, false, 0);
  EXPECT_EQ(config.labels, 3);
  auto unknown = R"({"architectures": ["Qwen2ForQuestionAnswering"], "model_type": "qwen2"})";
  EXPECT_NE(
      testing::message_of([&] { DecoderConfig::from_json(unknown, "config.json"); }).find("ForSequenceClassification"),
      std::string::npos);
}

}  // namespace
}  // namespace rft::text_scores_test
