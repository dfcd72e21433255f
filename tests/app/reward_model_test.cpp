/// Reward models of texts, trained and then used, through the program.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "language_runs.h"
#include "support.h"

namespace rft::reward_model_test {
namespace {

using nlohmann::json;
using testing::read_file;
using testing::rft;
using testing::write_file;

using RewardModels = testing::LanguageRuns;

TEST_F(RewardModels, ARewardModelIsTrainedAndThenUsed) {
  std::string data = "{train: " + path("data/pairs.jsonl") + ", eval: " + path("data/pairs_test.jsonl") + "}";
  std::string file = recipe("scorer", "{type: reward_model, path: " + path("data/model") + "}", data,
                            "objective: {type: bradley_terry, center_weight: 0.01}");
  trains_and_resumes("scorer", file);
  EXPECT_TRUE(metrics("scorer").back().contains("eval/accuracy"));
  auto config = json::parse(read_file(path("scorer") + "/final/config.json"));
  EXPECT_EQ(config["architectures"][0], "Qwen3ForSequenceClassification");

  write_file(path("score.yaml"), "{type: reward_model, path: " + path("scorer") + "/final, tokens: 40}\n");
  auto scored =
      rft("score " + path("score.yaml") + " --data " + path("data/gold.jsonl") + " --out " + path("scored.jsonl"));
  ASSERT_EQ(scored.code, 0) << scored.err;
  std::istringstream lines(read_file(path("scored.jsonl")));
  int rows_read = 0;
  for (std::string line; std::getline(lines, line); ++rows_read) EXPECT_TRUE(json::parse(line)["reward"].is_number());
  EXPECT_EQ(rows_read, 48);

  // A reward model is no language model, and the other way round; each is said.
  auto wrong = rft("check " + recipe("wrong", "{type: causal_lm, path: " + path("scorer") + "/final}",
                                     rows("sft.jsonl"), "objective: {type: sft}"));
  auto trained = rft("train " + path("wrong.yaml") + " --quiet");
  EXPECT_EQ(trained.code, 2);
  EXPECT_NE(trained.err.find("reward_model"), std::string::npos) << trained.err;
  write_file(path("score_lm.yaml"), "{type: reward_model, path: " + path("data/model") + "}\n");
  auto refused =
      rft("score " + path("score_lm.yaml") + " --data " + path("data/gold.jsonl") + " --out " + path("x.jsonl"));
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("language model"), std::string::npos) << refused.err;
  auto sft = rft("train " +
                 recipe("sft_scorer", "{type: reward_model, path: " + path("data/model") + "}", rows("sft.jsonl"),
                        "objective: {type: sft}") +
                 " --quiet");
  EXPECT_EQ(sft.code, 2);
  EXPECT_NE(sft.err.find("bradley_terry"), std::string::npos) << sft.err;
}

/// POLAR (arXiv:2507.05197): a reward model that reads prompt, reference, prompt and answer. Its loss is the
/// Bradley-Terry one of two candidates' scores beside the same reference, -log s(r(ref, chosen) - r(ref, rejected)).
TEST_F(RewardModels, ARewardModelReadsAReferenceAnswerToo) {
  std::string referred, put_together, asked, asked_together;
  std::istringstream given(read_file(path("data/pairs.jsonl")));
  int count = 0;
  for (std::string line; std::getline(given, line) && count < 8; ++count) {
    json row = json::parse(line), whole = row;
    std::string reference = count % 2 ? row["chosen"] : row["rejected"], prompt = row["prompt"];
    row["reference"] = reference, whole["prompt"] = prompt + reference + ";" + prompt;
    referred += row.dump() + "\n", put_together += whole.dump() + "\n";
    for (const char* side : {"chosen", "rejected"}) {
      row["completion"] = row[side], whole["completion"] = row[side];
      asked += row.dump() + "\n", asked_together += whole.dump() + "\n";
    }
  }
  ASSERT_EQ(count, 8);
  write_file(path("referred.jsonl"), referred), write_file(path("put_together.jsonl"), put_together);
  write_file(path("asked.jsonl"), asked), write_file(path("asked_together.jsonl"), asked_together);
  const std::string form = "prompt_template: '{prompt}{reference};{prompt}'",
                    policy = "{type: reward_model, path: " + path("data/model") + ", " + form + "}",
                    objective = "objective: {type: bradley_terry}";
  trains_and_resumes("polar", recipe("polar", policy, "{train: " + path("referred.jsonl") + "}", objective));
  // The same as on rows whose prompts are these texts.
  ASSERT_EQ(rft("train " +
                recipe("polar_plain", "{type: reward_model, path: " + path("data/model") + "}",
                       "{train: " + path("put_together.jsonl") + "}", objective) +
                " --quiet")
                .code,
            0);
  EXPECT_EQ(read_file(path("polar") + "/final/model.safetensors"),
            read_file(path("polar_plain") + "/final/model.safetensors"));

  auto scores = [&](const std::string& rows, const std::string& more) {
    write_file(path("polar_score.yaml"), "{type: reward_model, path: " + path("polar") + "/final" + more + "}\n");
    auto ran = rft("score " + path("polar_score.yaml") + " --data " + path(rows) + " --out " + path("polar_out.jsonl"));
    EXPECT_EQ(ran.code, 0) << ran.err;
    std::vector<double> out;
    std::istringstream lines(read_file(path("polar_out.jsonl")));
    for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line)["reward"]);
    return out;
  };
  const std::vector<double> score = scores("asked.jsonl", ", " + form);
  EXPECT_EQ(score, scores("asked_together.jsonl", ""));
  EXPECT_NE(score, scores("asked.jsonl", ""));
  // Another step from there, whose loss is that of these scores.
  double loss = 0;
  for (size_t i = 0; i < score.size(); i += 2) loss += std::log1p(std::exp(score[i + 1] - score[i])) / 8;
  ASSERT_EQ(rft("train " +
                recipe("polar_on", "{type: reward_model, path: " + path("polar") + "/final, " + form + "}",
                       "{train: " + path("referred.jsonl") + "}", objective) +
                " --quiet train.steps=1 train.checkpoint_every=0")
                .code,
            0);
  EXPECT_NEAR(metrics("polar_on").at(0).at("loss").get<double>(), loss, 1e-5);

  auto refused = rft("train " + recipe("polar_lacks", policy, rows("pairs.jsonl"), objective) + " --quiet");
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("pairs.jsonl:1"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("reference"), std::string::npos) << refused.err;
  auto score_refused = [&](const std::string& more) {
    write_file(path("bad_score.yaml"), "{type: reward_model, path: " + path("polar") + "/final, " + more + "}\n");
    auto ran =
        rft("score " + path("bad_score.yaml") + " --data " + path("data/gold.jsonl") + " --out " + path("x.jsonl"));
    EXPECT_EQ(ran.code, 2);
    return ran.err;
  };
  EXPECT_NE(score_refused(form).find("reference"), std::string::npos);
  EXPECT_NE(score_refused("prompt_template: '{completion}'").find("before the completion"), std::string::npos);
}

/// DMoERM (arXiv:2403.01197): a reward model, adapters on it for each point, and a perceptron that reads them all.
TEST_F(RewardModels, AMixtureOfExpertsIsTrainedAndThenUsed) {
  const std::string objective = "objective: {type: bradley_terry}";
  auto trained = [&](const std::string& name, const std::string& policy, const std::string& file) {
    auto ran =
        rft("train " + recipe(name, "{type: reward_model, path: " + policy + "}", rows(file), objective) + " --quiet");
    EXPECT_EQ(ran.code, 0) << ran.err;
  };
  trained("moe_base", path("data/model"), "pairs.jsonl");
  const std::string base = path("moe_base") + "/final", lora = ", lora: {rank: 2}";
  trained("moe_carries", base + lora, "pairs.jsonl");
  trained("moe_complete", base + lora, "triples.jsonl");
  const std::string experts = ", experts: [" + path("moe_carries") + "/final, " + path("moe_complete") + "/final]";
  trains_and_resumes(
      "moe", recipe("moe", "{type: reward_model, path: " + base + experts + "}", rows("pairs.jsonl"), objective));
  const std::string made = path("moe") + "/final";
  EXPECT_EQ(read_file(made + "/model.safetensors"), read_file(base + "/model.safetensors"));
  EXPECT_EQ(read_file(made + "/expert-1/adapter_model.safetensors"),
            read_file(path("moe_complete") + "/final/adapter_model.safetensors"));

  auto scores = [&](const std::string& reward, const std::string& file) {
    write_file(path("moe.yaml"), reward);
    auto ran = rft("score " + path("moe.yaml") + " --data " + path(file) + " --out " + path("moe_out.jsonl"));
    EXPECT_EQ(ran.code, 0) << ran.err;
    std::vector<double> out;
    std::istringstream lines(read_file(path("moe_out.jsonl")));
    for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line)["reward"]);
    return out;
  };
  std::string asked;
  std::istringstream given(read_file(path("data/pairs.jsonl")));
  int count = 0;
  for (std::string line; std::getline(given, line) && count < 8; ++count)
    for (const char* side : {"chosen", "rejected"}) {
      json row = json::parse(line);
      row["completion"] = row[side], row["task"] = count % 2 ? "plain" : "mixture";
      asked += row.dump() + "\n";
    }
  write_file(path("moe_asked.jsonl"), asked);
  const std::string mixture = "type: reward_model, path: " + made, plain = "type: reward_model, path: " + base;
  const std::vector<double> score = scores("{" + mixture + "}\n", "moe_asked.jsonl"),
                            others = scores("{" + plain + "}\n", "moe_asked.jsonl");
  EXPECT_NE(score, others);
  const std::vector<double> routed = scores(
      "{type: routed, rewards: [{for: mixture, " + mixture + "}, {for: plain, " + plain + "}]}\n", "moe_asked.jsonl");
  for (size_t i = 0; i < routed.size(); ++i) EXPECT_NEAR(routed[i], (i / 2 % 2 ? others : score)[i], 1e-5);
  // On from there: the same perceptron, whose loss is that of these scores.
  double loss = 0;
  for (size_t i = 0; i < score.size(); i += 2) loss += std::log1p(std::exp(score[i + 1] - score[i])) / 8;
  std::string eight;
  std::istringstream again(read_file(path("data/pairs.jsonl")));
  for (std::string line; eight.empty() || std::count(eight.begin(), eight.end(), '\n') < 8;)
    std::getline(again, line), eight += line + "\n";
  write_file(path("data/eight.jsonl"), eight);
  auto ran =
      rft("train " + recipe("moe_on", "{type: reward_model, path: " + made + "}", rows("eight.jsonl"), objective) +
          " --quiet train.steps=1 train.checkpoint_every=0");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NEAR(metrics("moe_on").at(0).at("loss").get<double>(), loss, 1e-5);

  auto refused = rft("train " +
                     recipe("moe_wrong", "{type: reward_model, path: " + path("data/model") + experts + "}",
                            rows("pairs.jsonl"), objective) +
                     " --quiet");
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("was trained on"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace rft::reward_model_test
