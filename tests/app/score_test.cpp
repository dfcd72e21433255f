/// `rft score`: rewards of given completions.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/io/image.h"
#include "support.h"

namespace rft::score_test {
namespace {

using nlohmann::json;

const char kRows[] =
    "{\"prompt\": \"2+2\", \"completion\": \"#### 4\", \"answer\": \"4\", \"id\": 7}\n"
    "{\"prompt\": \"3+3\", \"completion\": \"#### 5\", \"answer\": 6}\n";

class Score : public ::testing::Test {
 protected:
  testing::Ran score(const std::string& reward, const std::string& rows) {
    testing::write_file(dir_ / "reward.yaml", reward);
    testing::write_file(dir_ / "in.jsonl", rows);
    return testing::rft("score " + dir_ / "reward.yaml" + " --data " + dir_ / "in.jsonl" + " --out " +
                        dir_ / "out.jsonl");
  }
  std::vector<json> rows() const {
    std::istringstream lines(testing::read_file(dir_ / "out.jsonl"));
    std::vector<json> out;
    for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line));
    return out;
  }
  /// The rows that `reward` leaves of kRows.
  std::vector<json> scored(const std::string& reward) {
    auto ran = score(reward, kRows);
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.out, "");
    return rows();
  }
  void expect_refused(const testing::Ran& ran, const std::vector<std::string>& parts) {
    EXPECT_EQ(ran.code, 2) << ran.err;
    for (const auto& part : parts) EXPECT_NE(ran.err.find(part), std::string::npos) << part << " in: " << ran.err;
    EXPECT_FALSE(std::filesystem::exists(dir_ / "out.jsonl"));
  }

  testing::TempDir dir_;
};

TEST_F(Score, AddsRewardAndComponentsToTheRow) {
  auto out = scored("- {type: math_answer, weight: 2}\n- {type: regex, pattern: '^#', weight: 0.5, name: hashes}\n");
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[0], json::parse(R"({"prompt": "2+2", "completion": "#### 4", "answer": "4", "id": 7,
                                    "reward": 2.5, "components": {"math_answer": 1.0, "hashes": 1.0}})"));
  EXPECT_EQ(out[1].at("reward"), 0.5);
  EXPECT_EQ(out[1].at("answer"), 6);
}

TEST_F(Score, ReadsAListOrOneBlockWithOrWithoutTheKey) {
  const auto expected = scored("[{type: math_answer, weight: 2}]");
  EXPECT_EQ(expected.at(0).at("reward"), 2);
  EXPECT_EQ(scored("{type: math_answer, weight: 2}"), expected);
  EXPECT_EQ(scored("reward:\n- {type: math_answer, weight: 2}\n"), expected);
  EXPECT_EQ(scored("reward: {type: weighted_sum, rewards: [{type: math_answer, weight: 2}]}"), expected);
  EXPECT_EQ(scored("{type: math_answer, name: right}").at(0).at("components"), json({{"right", 1}}));
}

TEST_F(Score, WhatCouldNotBeComputedIsNullWithTheReason) {
  // "a" repeated in two ways takes too long on the first row, and does not match the second.
  auto ran = score("{type: regex, pattern: '^(a+)+$'}",
                   "{\"completion\": \"" + std::string(40, 'a') + "b\"}\n{\"completion\": \"b\"}\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  auto out = rows();
  ASSERT_EQ(out.size(), 2U);
  EXPECT_TRUE(out[0].at("reward").is_null());
  EXPECT_TRUE(out[0].at("components").at("regex").is_null());
  EXPECT_NE(out[0].at("error").get<std::string>().find("match limit exceeded"), std::string::npos);
  EXPECT_EQ(out[1].at("reward"), 0);
  EXPECT_FALSE(out[1].contains("error"));
}

TEST_F(Score, NeedsNoPrompt) {
  auto ran = score("{type: math_answer}", "{\"completion\": \"4\", \"answer\": \"4\"}\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(rows().at(0).at("reward"), 1);
}

TEST_F(Score, AMissingColumnIsNamedWithItsLine) {
  const std::string good = "{\"completion\": \"4\", \"answer\": \"4\"}\n";
  expect_refused(score("{type: math_answer}", good + "{\"completion\": \"4\", \"anwser\": \"4\"}\n"),
                 {"in.jsonl:2", "answer", "anwser"});
  expect_refused(score("{type: math_answer}", good + good + "{\"completio\": \"4\", \"answer\": \"4\"}\n"),
                 {"in.jsonl:3", "completion", "completio"});
}

TEST_F(Score, ARowThatDoesNotParseIsNamedWithItsLine) {
  expect_refused(score("{type: math_answer}", std::string(kRows) + "{\"completion\": \n"), {"in.jsonl:3"});
}

TEST_F(Score, RowsOfPicturesAreScoredByRewardsOnPictures) {
  const double shades[] = {0.2, 0.6};
  std::string rows;
  for (int64_t i : {0, 1}) {
    write_png(dir_ / cat(i, ".png"), at::full({3, 4, 6}, shades[i]));
    rows += json({{"image", cat(i, ".png")}, {"row", i}}).dump() + "\n";
  }
  auto ran = score("{type: colour_target, colour: [0.2, 0.2, 0.2]}", rows);
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_GT(this->rows().at(0).at("reward"), this->rows().at(1).at("reward"));
  EXPECT_EQ(this->rows().at(1).at("row"), 1);
  std::filesystem::remove(dir_ / "out.jsonl");
  write_png(dir_ / "1.png", at::zeros({3, 4, 5}));
  expect_refused(score("{type: colour_target, colour: [0.2, 0.2, 0.2]}", rows), {"in.jsonl:2", "6 x 4", "5 x 4"});
}

TEST_F(Score, AWrongRewardFileIsNamedWithItsPlace) {
  expect_refused(score("{type: math_anser}", kRows), {"reward.yaml:1", "math_answer"});
  expect_refused(score("- {type: math_answer, colum: a}\n", kRows), {"reward.yaml:1", "colum", "column"});
  expect_refused(score("", kRows), {"reward.yaml", "must hold rewards"});
}

TEST_F(Score, WhatCannotBeReadOrWrittenHasItsExitCode) {
  auto ran = testing::rft("score " + dir_ / "no.yaml" + " --data " + dir_ / "no.jsonl --out " + dir_ / "out.jsonl");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("no.yaml"), std::string::npos) << ran.err;
  testing::write_file(dir_ / "reward.yaml", "{type: math_answer}");
  ran = testing::rft("score " + dir_ / "reward.yaml" + " --data " + dir_ / "no.jsonl --out " + dir_ / "out.jsonl");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("no.jsonl"), std::string::npos) << ran.err;
  EXPECT_EQ(testing::rft("score " + dir_ / "reward.yaml").code, 2);  // --data is needed
}

}  // namespace
}  // namespace rft::score_test
