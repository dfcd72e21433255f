/// Rewards that a language model gives, through the program: against `rft logprob` (whose numbers are transformers'),
/// and `rft assess`.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "support.h"

namespace rft::judge_test {
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

/// The judge's texts are `rft generate`'s, its verdicts std::regex's reading of them.
TEST_F(Judged, AfterReasoningByTheLastVerdictInItsText) {
  auto rows = answers();
  auto texts_of = [&](const std::vector<std::string>& questions) {
    std::vector<json> asked;
    for (const auto& question : questions) asked.push_back({{"prompt", question}});
    write_file(path("asked.jsonl"), rows_text(asked));
    auto ran = rft("generate " + path("data1/model") + " --prompts " + path("asked.jsonl") + " --out " +
                   path("written.jsonl") + " --temperature 0 --max-new-tokens 24");
    EXPECT_EQ(ran.code, 0) << ran.err;
    std::vector<std::string> out;
    for (const auto& row : lines_of(path("written.jsonl"))) out.push_back(row.at("completion"));
    return out;
  };
  // The text's own first character is looked for, and what it says last is what stands behind it there.
  std::vector<std::string> questions;
  for (const auto& row : rows)
    questions.push_back(row["completion"].get<std::string>() + ";" + row["prompt"].get<std::string>());
  auto texts = texts_of(questions);
  std::string judge = "{type: reasoning_judge, path: " + path("data1/model") + ", max_new_tokens: 24, ";
  size_t readable = 0;
  for (std::string digit : {"[0-4]", "[5-9]", "[0-9]"}) {
    std::vector<double> expected;
    for (const auto& text : texts) {
      double said = -1;
      const std::regex pattern("(" + digit + ")");
      for (std::sregex_iterator at(text.begin(), text.end(), pattern), none; at != none; ++at)
        said = std::stod((*at)[1]);
      expected.push_back(said), readable += said >= 0;
    }
    EXPECT_EQ(scores(judge + "template: '{completion};{prompt}', verdict: '(" + digit + ")', unreadable: -1}", rows),
              expected);
  }
  EXPECT_GT(readable, 0u);
  // What can't be read is missing where it is worth nothing, and is counted in either case.
  auto ran =
      score("[" + judge + "template: '{completion};{prompt}', verdict: 'no(t)', name: who}, {type: math_answer}]", [&] {
        auto more = rows;
        for (auto& row : more) row["answer"] = "46";
        return more;
      }());
  ASSERT_EQ(ran.code, 0) << ran.err;
  for (const auto& row : lines_of(path("scored.jsonl"))) {
    EXPECT_TRUE(row.at("components").at("who").is_null());
    EXPECT_EQ(row.at("components").at("who/unreadable"), 1.0);
    EXPECT_NE(row.at("error").get<std::string>().find("no verdict"), std::string::npos);
    EXPECT_TRUE(row.at("reward").is_number());  // the other reward's
  }
}

/// Samples of one token, whose probabilities are `rft logprob`'s: what a verdict is worth on average, and how often it
/// can't be read.
TEST_F(Judged, AfterReasoningByTheMeanOfItsSamples) {
  auto rows = answers();
  std::string asked = rows[0]["prompt"].get<std::string>() + rows[0]["completion"].get<std::string>();
  std::vector<json> digits;
  for (int d = 0; d < 10; ++d) digits.push_back({{"prompt", asked}, {"completion", std::to_string(d)}});
  auto logp = likely("data1/model", digits);
  double mean = 0, share = 0, square = 0;
  for (int d = 0; d < 10; ++d) {
    double p = std::exp(logp[static_cast<size_t>(d)]);
    share += p, mean += p * d, square += p * d * d;
  }
  std::string judge = "{type: reasoning_judge, path: " + path("data1/model") +
                      ", template: '{prompt}{completion}', verdict: '^([0-9])$', max_new_tokens: 1, temperature: 1, "
                      "samples: 4000";
  auto ran = score("[" + judge + ", unreadable: 0}]", rows);
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto first = lines_of(path("scored.jsonl")).at(0);
  double spread = std::sqrt((square - mean * mean) / 4000);
  EXPECT_NEAR(first.at("reward").get<double>(), mean, 4 * spread);
  EXPECT_NEAR(first.at("components").at("reasoning_judge/unreadable").get<double>(), 1 - share,
              4 * std::sqrt(share * (1 - share) / 4000));
  EXPECT_GT(spread, 0);
  auto read = scores(judge + "}", rows);  // those that can't be read are left out
  EXPECT_NEAR(read[0], mean / share, 4 * spread / share + 1e-6);
  // A question's answers don't depend on the rows beside it, and do on the seed.
  std::vector<json> turned = {rows[1], rows[0]};
  auto others = scores(judge + "}", turned);
  EXPECT_EQ(others[1], read[0]);
  EXPECT_EQ(others[0], read[1]);
  EXPECT_NE(scores(judge + ", seed: 1}", rows)[0], read[0]);
}

TEST_F(Judged, AfterReasoningInBothOrders) {
  auto rows = answers(), swapped = rows, same = rows;
  for (auto& row : swapped) std::swap(row["completion"], row["other"]);
  for (auto& row : same) row["other"] = row["completion"];
  std::string judge = "{type: reasoning_judge, path: " + path("data1/model") +
                      ", template: '{prompt}{a};{b}=', choices: ['1', '2', '3'], against: other, verdict: '([0-9])', "
                      "max_new_tokens: 12, samples: 16, temperature: 1.0, unreadable: 0.5}";
  auto one = scores(judge, rows), other = scores(judge, swapped);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_NEAR(one[i] + other[i], 1, 1e-6);
  EXPECT_NE(one[0], 0.5);
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
  auto reasoning = [&](const std::string& rest) {
    return refused("{type: reasoning_judge, " + path1 + ", template: '{completion}', " + rest + "}");
  };
  EXPECT_TRUE(says(reasoning("verdict: '[0-9]'"), "group"));
  EXPECT_TRUE(says(reasoning("verdict: '([0-9]'"), "no regular expression"));
  EXPECT_TRUE(says(reasoning("verdict: '([0-9])', samples: 2"), "temperature"));
  EXPECT_TRUE(says(reasoning("verdict: '([0-9])', choices: ['1']"), "choices"));
  EXPECT_TRUE(says(reasoning("verdict: '([0-9])', choices: [A, B], range: [0, 1]"), "range"));
  EXPECT_TRUE(says(reasoning("verdict: '([0-9])', range: [1, 0]"), "range"));
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
}  // namespace rft::judge_test
