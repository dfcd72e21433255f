/// Encoders and their rewards against transformers and sentence-transformers (tests/parity/make_sentence_encoders.py).
#include "rft/reward/text_encoder_rewards.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "rft/core/extra.h"
#include "support.h"

namespace rft::text_encoder_rewards_test {
namespace {

using nlohmann::json;
using testing::message_of;

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/sentence_encoders/" + name); }

struct Expected {
  std::vector<std::string> texts;
  Tensor values;  ///< [N, ...]
};

Expected expected_of(const std::string& name, const std::string& key) {
  auto data = json::parse(testing::read_file(directory_of(name) + "/expected.json"));
  std::vector<float> flat;
  for (const auto& row : data.at(key))
    for (const auto& x : row) flat.push_back(x);
  auto rows = static_cast<int64_t>(data.at(key).size());
  return {data.at("texts"), at::tensor(flat).view({rows, -1})};
}

double difference(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

Experience answers(const std::vector<std::string>& completions, const std::vector<std::string>& column) {
  Experience batch;
  batch.group = at::arange(static_cast<int64_t>(completions.size()), at::kLong);
  batch.context.set_text(extra::prompt, std::vector<std::string>(completions.size(), "The "));
  batch.context.set_text(extra::completion, completions);
  batch.context.set_text("answer", column);
  return batch;
}

TEST(TextEncoderModel, GivesTransformersLogits) {
  for (const std::string name : {"bert", "roberta", "distilbert"}) {
    auto expected = expected_of(name, "logits");
    EXPECT_LT(difference(TextEncoderModel(directory_of(name)).logits(expected.texts), expected.values), 2e-5) << name;
  }
}

TEST(TextEncoderModel, GivesSentenceTransformersEmbeddingsOfTextsThatItCutsToo) {
  for (const std::string name : {"sentence_mean", "sentence_cls"}) {
    auto expected = expected_of(name, "embeddings");
    TextEncoderModel model(directory_of(name));
    EXPECT_LT(difference(model.embed(expected.texts), expected.values), 2e-5) << name;
    for (size_t i = 0; i < expected.texts.size(); ++i)  // alone as in a batch
      EXPECT_LT(difference(model.embed({expected.texts[i]})[0], expected.values[static_cast<int64_t>(i)]), 2e-5);
  }
}

TEST(TextEncoderModel, EmbedsByTheMeanOfABareEncodersStates) {
  auto mean = expected_of("sentence_mean", "embeddings");
  Tensor bare = TextEncoderModel(directory_of("bert_model")).embed({mean.texts[0]});
  EXPECT_LT(difference(bare.div(bare.norm()), mean.values.narrow(0, 0, 1)), 2e-5);
}

TEST(TextClassifierReward, SaysWhatTheClassifierSaysOfALabel) {
  auto expected = expected_of("bert", "logits");
  auto reward = [&](const std::string& score, const std::string& text = "completion") {
    TextClassifierReward model({directory_of("bert"), "good", score, text});
    return model.score(answers(expected.texts, expected.texts));
  };
  EXPECT_LT(difference(reward("logit").value, expected.values.select(1, 2)), 2e-5);
  EXPECT_LT(difference(reward("probability").value, expected.values.softmax(1).select(1, 2)), 2e-5);
  EXPECT_LT(difference(reward("log_probability").value, expected.values.log_softmax(1).select(1, 2)), 2e-5);
  TextClassifierReward whole({directory_of("bert"), "good", "logit", "prompt_and_completion"});
  Tensor joined = whole.score(answers({"quick brown fox jumps over the lazy dog."}, {""})).value;
  EXPECT_LT(difference(joined[0], expected.values[0][2]), 2e-5);
  auto single = expected_of("roberta", "logits");
  TextClassifierReward one({directory_of("roberta"), "", "probability", "completion"});
  EXPECT_LT(difference(one.score(answers(single.texts, single.texts)).value, single.values.sigmoid().select(1, 0)),
            2e-5);
}

TEST(TextClassifierReward, ATextThatIsTooLongIsNoNumberAndTheOthersAreScored) {
  TextClassifierReward model({directory_of("bert"), "good", "logit", "completion"});
  std::string longer;
  for (int i = 0; i < 100; ++i) longer += "fox ";
  Rewards rewards = model.score(answers({"a", longer, "a"}, {"", "", ""}));
  EXPECT_TRUE(std::isnan(rewards.value[1].item<float>()));
  EXPECT_NE(rewards.errors[1].find("more than the model takes"), std::string::npos);
  EXPECT_EQ(rewards.value[0].item<float>(), rewards.value[2].item<float>());
}

TEST(TextSimilarity, IsTheCosineOfTheEmbeddings) {
  auto expected = expected_of("sentence_cls", "embeddings");
  auto column = expected.texts;
  std::rotate(column.begin(), column.begin() + 1, column.end());
  TextSimilarity model({directory_of("sentence_cls"), "answer"});
  EXPECT_EQ(model.columns(), std::vector<std::string>{"answer"});
  Tensor other = expected.values.roll(-1, 0);
  Tensor cosine = expected.values.mul(other).sum(1).div(expected.values.norm(2, 1).mul(other.norm(2, 1)));
  EXPECT_LT(difference(model.score(answers(expected.texts, column)).value, cosine), 2e-5);
  EXPECT_LT(difference(model.score(answers(column, column)).value, at::ones({7})), 1e-5);
}

TEST(TextEncoderRewards, SayWhatADirectoryLacks) {
  EXPECT_NE(message_of([] {
              TextClassifierReward({directory_of("bert"), "fine", "logit", "completion"});
            }).find("must be one of the model's labels; got 'fine'"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              TextClassifierReward({directory_of("bert_model"), "good", "logit", "completion"});
            }).find("has no head that classifies"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              TextSimilarity({"/nowhere", "answer"});
            }).find("there is no config.json"),
            std::string::npos);
  testing::TempDir dir;
  std::filesystem::copy(directory_of("sentence_mean"), dir / "m", std::filesystem::copy_options::recursive);
  auto changed = [&](const std::string& file, const std::string& content) {
    testing::write_file(dir / ("m/" + file), content);
    return message_of([&] { TextEncoderModel(dir / "m"); });
  };
  EXPECT_NE(changed("1_Pooling/config.json", R"({"pooling_mode": "lasttoken"})").find("cls, mean and max"),
            std::string::npos);
  EXPECT_NE(changed("modules.json", R"([{"type": "x.Transformer", "path": "../.."}])").find("modules.json"),
            std::string::npos);
  EXPECT_NE(changed("modules.json", R"([{"type": "x.Transformer", "path": ""}, {"type": "x.Dense", "path": "d"}])")
                .find("the module 'x.Dense' is not known"),
            std::string::npos);
  auto config = json::parse(testing::read_file(dir / "m/config.json"));
  config["position_embedding_type"] = "relative_key";
  EXPECT_NE(changed("config.json", config.dump()).find("position_embedding_type"), std::string::npos);
}

}  // namespace
}  // namespace rft::text_encoder_rewards_test
