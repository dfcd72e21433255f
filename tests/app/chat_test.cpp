/// Conversations through the program: tokenize --chat, message rows in training, generation and scoring.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support.h"

namespace rft::chat_test {
namespace {

using nlohmann::json;
using testing::read_file;
using testing::rft;
using testing::TempDir;
using testing::write_file;

/// Additions as conversations: a question is its numbers and "=", an answer ends with the end of text.
const char* kTemplate =
    "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}={% else %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{% endif %}";

class Chat : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = rft("data --out " + dir_ / "data" +
                    " --digits 2 --demonstrations 40 --train 8 --test 8 --hidden-size 32 --layers 1");
    ASSERT_EQ(made.code, 0) << made.err;
    write_file(model() + "/chat_template.jinja", kTemplate);
  }
  std::string model() const { return dir_ / "data/model"; }
  std::vector<json> lines(const std::string& file) const {
    std::vector<json> out;
    std::istringstream in(read_file(file));
    for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
    return out;
  }
  std::string train(const std::string& rows, const std::string& objective, int code) const {
    write_file(dir_ / "rows.jsonl", rows);
    write_file(dir_ / "recipe.yaml",
               "run: {threads: 1, output: " + dir_ / "run" + "}\npolicy: {type: causal_lm, path: " + model() +
                   "}\ndata: {train: " + dir_ / "rows.jsonl" + "}\nobjective: {type: " + objective +
                   "}\ntrain: {steps: 2, batch_size: 2, optimizer: {lr: 1.0e-3}}\n");
    auto ran = rft("train " + dir_ / "recipe.yaml" + " --quiet");
    EXPECT_EQ(ran.code, code) << ran.err;
    return code == 0 ? read_file(dir_ / "run/final/model.safetensors") : ran.err;
  }
  TempDir dir_;
};

TEST_F(Chat, TokenizeGivesTextAndIdsWithTheTemplatesOwnSpecialTokens) {
  write_file(dir_ / "in.jsonl",
             R"({"messages": [{"role": "user", "content": "1+2"}, {"role": "assistant", "content": "3"}]})"
             "\n"
             R"({"messages": [{"role": "user", "content": "1+2"}], "add_generation_prompt": true})"
             "\n");
  auto ran = rft("tokenize " + model() + " --chat --in " + dir_ / "in.jsonl" + " --out " + dir_ / "out.jsonl");
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto out = lines(dir_ / "out.jsonl");
  EXPECT_EQ(out.at(0).at("text"), "1+2=3<|eos|>");
  EXPECT_EQ(out.at(1).at("text"), "1+2=");
  write_file(dir_ / "ids.jsonl", json{{"ids", out.at(0).at("ids")}}.dump() + "\n");
  ASSERT_EQ(rft("tokenize " + model() + " --decode --in " + dir_ / "ids.jsonl" + " --out " + dir_ / "text.jsonl").code,
            0);
  EXPECT_EQ(lines(dir_ / "text.jsonl").at(0).at("text"), "1+2=3<|eos|>");
  EXPECT_EQ(out.at(0).at("ids").size(), 6u);  // a token a character, and one for the end of text
}

TEST_F(Chat, EveryAnswerOfAConversationIsLearnedWhereAskedFor) {
  std::string talk = R"({"messages": [{"role": "user", "content": "1+2"}, {"role": "assistant", "content": "3"}, )"
                     R"({"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]})";
  auto learned = [&](const std::string& turns) {
    write_file(dir_ / "talk.jsonl", talk + "\n");
    write_file(dir_ / "t.yaml", "run: {threads: 1, output: " + dir_ / turns +
                                    "}\npolicy: {type: causal_lm, path: " + model() + ", assistant_turns: " + turns +
                                    "}\ndata: {train: " + dir_ / "talk.jsonl" + "}\nobjective: {type: sft}\n" +
                                    "train: {steps: 1, batch_size: 1, optimizer: {lr: 1.0e-3}}\n");
    auto ran = rft("train " + dir_ / "t.yaml");
    EXPECT_EQ(ran.code, 0) << ran.err;
    return std::pair(lines(dir_ / turns + "/metrics.jsonl").at(0).at("num_tokens").get<double>(), ran.err);
  };
  auto [last, shown_last] = learned("last");
  auto [all, shown_all] = learned("all");
  EXPECT_EQ(last, 2);  // a digit, and the end of text
  EXPECT_EQ(all, 4);
  EXPECT_NE(shown_last.find("1+2=3<|eos|>2+2=[[4<|eos|>]]"), std::string::npos) << shown_last;
  EXPECT_NE(shown_all.find("1+2=[[3<|eos|>]]2+2=[[4<|eos|>]]"), std::string::npos) << shown_all;

  auto unmarked = rft("train " + dir_ / "t.yaml" + " policy.assistant_turns=marked run.output=" + dir_ / "x");
  EXPECT_EQ(unmarked.code, 2);
  EXPECT_NE(unmarked.err.find("talk.jsonl:1"), std::string::npos) << unmarked.err;
  EXPECT_NE(unmarked.err.find("{% generation %}"), std::string::npos) << unmarked.err;
  write_file(model() + "/chat_template.jinja",
             "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}={% else %}{% generation %}{{ m.content }}"
             "{% endgeneration %}{{ eos_token }}{% endif %}{% endfor %}");
  auto [marked, shown_marked] = learned("marked");
  EXPECT_EQ(marked, 2);
  EXPECT_NE(shown_marked.find("1+2=[[3]]<|eos|>2+2=[[4]]"), std::string::npos) << shown_marked;

  // A template that changes its mind about earlier turns.
  write_file(model() + "/chat_template.jinja",
             "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}={% elif loop.last %}{{ eos_token }}"
             "{% endif %}{% endfor %}");
  auto ran = rft("train " + dir_ / "t.yaml" + " policy.assistant_turns=all run.output=" + dir_ / "x");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("writes earlier turns otherwise"), std::string::npos) << ran.err;
}

TEST_F(Chat, TokenizeNamesTheRowThatATemplateRefuses) {
  write_file(model() + "/chat_template.jinja",
             "{{ raise_exception('no system prompt') if messages[0].role == 'system' }}");
  write_file(dir_ / "in.jsonl",
             "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n{\"messages\": [{\"role\": \"system\", "
             "\"content\": \"x\"}]}\n");
  auto ran = rft("tokenize " + model() + " --chat --in " + dir_ / "in.jsonl" + " --out " + dir_ / "out.jsonl");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("in.jsonl:2"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("no system prompt"), std::string::npos) << ran.err;
  EXPECT_FALSE(std::filesystem::exists(dir_ / "out.jsonl"));
}

TEST_F(Chat, MessageRowsTrainAsTheirTextsDo) {
  std::string texts = train(
      "{\"prompt\": \"12+34=\", \"completion\": \"46\"}\n{\"prompt\": \"1+2=\", \"completion\": \"3\"}\n", "sft", 0);
  auto user = [](const std::string& text) { return "{\"role\": \"user\", \"content\": \"" + text + "\"}"; };
  auto assistant = [](const std::string& text) { return "{\"role\": \"assistant\", \"content\": \"" + text + "\"}"; };
  std::string whole = train("{\"messages\": [" + user("12+34") + ", " + assistant("46") + "]}\n{\"messages\": [" +
                                user("1+2") + ", " + assistant("3") + "]}\n",
                            "sft", 0);
  std::string apart = train("{\"messages\": [" + user("12+34") + "], \"completion\": \"46\"}\n{\"prompt\": [" +
                                user("1+2") + "], \"completion\": [" + assistant("3") + "]}\n",
                            "sft", 0);
  EXPECT_EQ(whole, texts);
  EXPECT_EQ(apart, texts);
  std::string pairs = train("{\"prompt\": \"12+34=\", \"chosen\": \"46\", \"rejected\": \"36\"}\n", "dpo", 0);
  EXPECT_EQ(train("{\"messages\": [" + user("12+34") + "], \"chosen\": [" + assistant("46") + "], \"rejected\": [" +
                      assistant("36") + "]}\n",
                  "dpo", 0),
            pairs);
  EXPECT_NE(train("{\"messages\": [" + user("1+2") + "]}\n", "sft", 2).find("rows.jsonl:1"), std::string::npos);
}

TEST_F(Chat, ATemplateThatRewritesTheQuestionIsRefused) {
  write_file(model() + "/chat_template.jinja",
             "{% for m in messages %}{{ m.content }}{{ '+' if loop.last else '=' }}{% endfor %}");
  std::string error =
      train(R"({"messages": [{"role": "user", "content": "1+2"}, {"role": "assistant", "content": "3"}]})"
            "\n",
            "sft", 2);
  EXPECT_NE(error.find("can't be told apart"), std::string::npos) << error;
  std::filesystem::remove(model() + "/chat_template.jinja");
  error = train(R"({"messages": [{"role": "user", "content": "1+2"}, {"role": "assistant", "content": "3"}]})"
                "\n",
                "sft", 2);
  EXPECT_NE(error.find("no chat template"), std::string::npos) << error;
}

TEST_F(Chat, GenerateAndLogprobTakeMessages) {
  write_file(dir_ / "in.jsonl", R"({"messages": [{"role": "user", "content": "1+2"}]})"
                                "\n"
                                R"({"prompt": "1+2="})"
                                "\n");
  std::string common = model() + " --max-new-tokens 4 --temperature 0 --out " + dir_ / "out.jsonl";
  ASSERT_EQ(rft("generate " + common + " --prompts " + dir_ / "in.jsonl").code, 0);
  auto out = lines(dir_ / "out.jsonl");
  EXPECT_EQ(out.at(0).at("token_ids"), out.at(1).at("token_ids"));
  write_file(dir_ / "score.jsonl",
             R"({"messages": [{"role": "user", "content": "1+2"}, {"role": "assistant", "content": "3"}]})"
             "\n"
             R"({"prompt": "1+2=", "completion": "3<|eos|>"})"
             "\n");
  auto ran = rft("logprob " + model() + " --data " + dir_ / "score.jsonl" + " --out " + dir_ / "scored.jsonl");
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto scored = lines(dir_ / "scored.jsonl");
  EXPECT_EQ(scored.at(0).at("token_ids"), scored.at(1).at("token_ids"));
  EXPECT_EQ(scored.at(0).at("logprobs"), scored.at(1).at("logprobs"));
}

}  // namespace
}  // namespace rft::chat_test
