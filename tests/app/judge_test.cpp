/// Rewards that a language model gives, through the program: against `rft logprob` (whose numbers are transformers'),
/// and `rft assess`.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support.h"

namespace rft {
namespace {

using nlohmann::json;
using testing::rft;
using testing::TempDir;
using testing::write_file;

class Judged : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    for (std::string seed : {"1", "2"}) {
      auto made = rft("data --out " + path("data" + seed) + " --digits 2 --demonstrations 60 --train 8 --test 8 " +
                      "--hidden-size 32 --layers 1 --seed " + seed);
      ASSERT_EQ(made.code, 0) << made.err;
    }
    // The same alphabet, so another model with the same tokenizer.
    for (std::string file : {"tokenizer.json", "tokenizer_config.json"})
      if (std::filesystem::exists(path("data1/model/" + file)))
        std::filesystem::copy_file(path("data1/model/" + file), path("data2/model/" + file),
                                   std::filesystem::copy_options::overwrite_existing);
  }
  static void TearDownTestSuite() { delete dir_; }
  static std::string path(const std::string& name) { return dir_->path() + "/" + name; }
  static std::vector<json> lines_of(const std::string& file) {
    std::vector<json> out;
    std::istringstream in(testing::read_file(file));
    for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
    return out;
  }
  static std::string rows_text(const std::vector<json>& rows) {
    std::string out;
    for (const auto& row : rows) out += row.dump() + "\n";
    return out;
  }
  /// What `rft logprob` says of prompt and completion.
  static std::vector<double> likely(const std::string& model, const std::vector<json>& rows) {
    write_file(path("likely.jsonl"), rows_text(rows));
    auto ran = rft("logprob " + path(model) + " --data " + path("likely.jsonl") + " --out " + path("likely_out.jsonl"));
    EXPECT_EQ(ran.code, 0) << ran.err;
    std::vector<double> out;
    for (const auto& row : lines_of(path("likely_out.jsonl"))) out.push_back(row.at("sum"));
    return out;
  }
  static testing::Ran score(const std::string& reward, const std::vector<json>& rows) {
    write_file(path("reward.yaml"), reward);
    write_file(path("rows.jsonl"), rows_text(rows));
    return rft("score " + path("reward.yaml") + " --data " + path("rows.jsonl") + " --out " + path("scored.jsonl"));
  }
  static std::vector<double> scores(const std::string& reward, const std::vector<json>& rows) {
    auto ran = score(reward, rows);
    EXPECT_EQ(ran.code, 0) << ran.err;
    std::vector<double> out;
    for (const auto& row : lines_of(path("scored.jsonl"))) out.push_back(row.at("reward"));
    return out;
  }
  static std::vector<json> answers() {
    return {{{"prompt", "12+34="}, {"completion", "2+4=6,1+3=4;46"}, {"other", "47"}},
            {{"prompt", "55+11="}, {"completion", "66"}, {"other", "5+1=6;66"}}};
  }

  static TempDir* dir_;
};
TempDir* Judged::dir_ = nullptr;

TEST_F(Judged, ByTheImplicitRewardOfAModel) {
  auto rows = answers();
  auto with_end = rows;  // the end of text counts, as in training
  std::string end = json::parse(testing::read_file(path("data1/model/tokenizer_config.json"))).at("eos_token");
  for (auto& row : with_end) row["completion"] = row["completion"].get<std::string>() + end;
  auto policy = likely("data1/model", with_end), reference = likely("data2/model", with_end);
  std::string both = "{type: implicit, path: " + path("data1/model") + ", beta: 0.5";
  auto got = scores(both + ", reference: " + path("data2/model") + ", tokens: 20}", rows),
       alone = scores(both + "}", rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(got[i], 0.5 * (policy[i] - reference[i]), 1e-4);
    EXPECT_NEAR(alone[i], 0.5 * policy[i], 1e-4);
  }
  auto average = scores(both + ", average: true}", rows);
  EXPECT_NEAR(average[1], 0.5 * policy[1] / 3, 1e-4);  // two digits and the end
}

TEST_F(Judged, ByAVerdictAmongChoices) {
  auto rows = answers();
  std::vector<json> asked;
  for (const auto& row : rows)
    for (std::string choice : {"1", "25", "7"})
      asked.push_back({{"prompt", row["prompt"].get<std::string>() + row["completion"].get<std::string>() + "="},
                       {"completion", choice}});
  auto logp = likely("data1/model", asked);
  auto mean = [&](size_t i, const std::vector<double>& values) {
    double sum = 0, total = 0;
    for (size_t k = 0; k < 3; ++k) sum += std::exp(logp[3 * i + k]) * values[k], total += std::exp(logp[3 * i + k]);
    return sum / total;
  };
  std::string judge = "{type: judge, path: " + path("data1/model") + ", template: '{prompt}{completion}='";
  auto numbers = scores(judge + ", choices: ['1', '25', '7']}", rows);
  auto valued = scores(judge + ", choices: ['1', '25', '7'], values: [1, 0, 0], tokens: 10}", rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(numbers[i], mean(i, {1, 25, 7}), 1e-3);
    EXPECT_NEAR(valued[i], mean(i, {1, 0, 0}), 1e-5);
  }
}

TEST_F(Judged, BesideAnotherAnswerInBothOrders) {
  auto rows = answers(), swapped = rows, same = rows;
  for (auto& row : swapped) std::swap(row["completion"], row["other"]);
  for (auto& row : same) row["other"] = row["completion"];
  std::string judge = "{type: judge, path: " + path("data1/model") +
                      ", template: '{prompt}{a};{b}=', choices: ['1', '2'], against: other}";
  auto one = scores(judge, rows), other = scores(judge, swapped);
  // By hand, the first row: P(1) where it stands first, P(2) where it stands second.
  std::string prompt = "12+34=", a = "2+4=6,1+3=4;46", b = "47";
  std::vector<json> asked;
  for (std::string text : {prompt + a + ";" + b + "=", prompt + b + ";" + a + "="})
    for (std::string choice : {"1", "2"}) asked.push_back({{"prompt", text}, {"completion", choice}});
  auto logp = likely("data1/model", asked);
  auto first = [&](size_t i) { return 1 / (1 + std::exp(logp[2 * i + 1] - logp[2 * i])); };
  EXPECT_NEAR(one[0], (first(0) + 1 - first(1)) / 2, 1e-5);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_NEAR(one[i] + other[i], 1, 1e-6);
  for (double x : scores(judge, same)) EXPECT_NEAR(x, 0.5, 1e-6);
}

TEST_F(Judged, WhatDoesNotFitIsRefusedByName) {
  std::string path1 = "path: " + path("data1/model");
  auto refused = [&](const std::string& reward) {
    auto ran = score(reward, answers());
    EXPECT_EQ(ran.code, 2) << reward;
    return ran.err;
  };
  auto says = [](const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(says(refused("{type: judge, " + path1 + ", template: '{prompt}', choices: ['1', '2']}"), "{completion}"));
  EXPECT_TRUE(says(refused("{type: judge, " + path1 + ", template: '{completion}', choices: ['1']}"), "choices"));
  EXPECT_TRUE(
      says(refused("{type: judge, " + path1 + ", template: '{completion}', choices: ['1', '2', '='], values: [1]}"),
           "values"));
  EXPECT_TRUE(
      says(refused("{type: judge, " + path1 + ", template: '{a}', choices: ['1', '2'], against: other}"), "{b}"));
  EXPECT_TRUE(
      says(refused("{type: judge, " + path1 + ", template: '{completion}{rubric}', choices: ['1', '2']}"), "rubric"));
  EXPECT_TRUE(says(refused("{type: implicit, path: " + path("data1") + "}"), "tokenizer.json"));
}

TEST_F(Judged, RewardsThemselvesByAssess) {
  write_file(path("length.yaml"),
             "[{type: regex, pattern: '^aa'}, {type: regex, pattern: '^aaa'}, {type: regex, pattern: '^aaaa'}]\n");
  write_file(path("assess.jsonl"),
             "{\"prompt\": \"\", \"chosen\": \"aaaa\", \"rejected\": \"aa\", \"kind\": \"x\"}\n"
             "{\"prompt\": \"\", \"chosen\": \"a\", \"rejected\": \"aaa\", \"kind\": \"y\"}\n"
             "{\"prompt\": \"\", \"chosen\": \"aaaaa\", \"rejected\": \"a\", \"kind\": \"x\"}\n");
  auto ran = rft("assess " + path("length.yaml") + " --data " + path("assess.jsonl") + " --category kind");
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto got = json::parse(ran.out);
  EXPECT_NEAR(got.at("accuracy").get<double>(), 2.0 / 3, 1e-12);
  EXPECT_EQ(got.at("categories").at("x").at("accuracy"), 1.0);
  EXPECT_EQ(got.at("categories").at("y").at("accuracy"), 0.0);
  EXPECT_EQ(got.at("categories").at("x").at("pairs"), 2.0);
  EXPECT_TRUE(got.at("area_under_roc").is_number());

  write_file(path("answers.jsonl"),
             "{\"prompt\": \"p\", \"completion\": \"aaa\", \"worth\": 1}\n"
             "{\"prompt\": \"p\", \"completion\": \"a\", \"worth\": 0}\n"
             "{\"prompt\": \"q\", \"completion\": \"aa\", \"worth\": 0}\n"
             "{\"prompt\": \"q\", \"completion\": \"aaaa\", \"worth\": 1}\n");
  ran = rft("assess " + path("length.yaml") + " --data " + path("answers.jsonl") + " --out " + path("assessed.json"));
  ASSERT_EQ(ran.code, 0) << ran.err;
  got = json::parse(testing::read_file(path("assessed.json")));
  EXPECT_EQ(got.at("best_of_n").at(0).at("worth"), 0.5);
  EXPECT_EQ(got.at("best_of_n").at(1).at("worth"), 1.0);
  EXPECT_NEAR(got.at("best_of_n").at(1).at("kl").get<double>(), std::log(2.0) - 0.5, 1e-12);
  auto missing = rft("assess " + path("length.yaml") + " --data " + path("answers.jsonl") + " --worth value");
  EXPECT_EQ(missing.code, 2);
  EXPECT_NE(missing.err.find("value"), std::string::npos) << missing.err;
}

}  // namespace
}  // namespace rft
