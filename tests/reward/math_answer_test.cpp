/// math_answer against math-verify, and against hostile text.
#include "rft/reward/math_answer.h"

#include <ATen/ATen.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "reward/math_value.h"
#include "rft/core/extra.h"
#include "support.h"

namespace rft::math_answer_test {
namespace {

Rewards score(const std::vector<std::string>& completions, const std::vector<std::string>& answers,
              MathAnswer::Options options = {}) {
  Experience batch;
  batch.context.set_text(extra::completion, completions);
  batch.context.set_text(options.column, answers);
  return MathAnswer(options).score(batch);
}

bool correct(const std::string& completion, const std::string& answer) {
  return score({completion}, {answer}).value.item<float>() == 1;
}

TEST(MathAnswer, AgreesWithMathVerify) {
  // (completion, answer) -> why ours says otherwise.
  const std::map<std::pair<std::string, std::string>, std::string> disagreements = {
      {{"Hence $\\boxed{45°}$.", "45"}, "the degree sign is a unit, as ^\\circ is for both"},
      {{"Hence $\\boxed{3.14159}$.", "\\pi"}, "within the relative tolerance; math-verify rounds to six decimals"},
      {{"Hence $\\boxed{5!}$.", "120"}, "an exclamation mark is punctuation"},
      {{"Hence $\\boxed{7.}$.", "7"}, "a full stop is punctuation"},
      {{"Hence $\\boxed{2(3)}$.", "6"}, "a product; math-verify takes 2 for a function"},
      {{"The answer is (B).", "B"}, "a letter in brackets; math-verify reads it only in a box"},
      {{"Answer: C", "C"}, "a letter is an answer as a number is"},
      {{"Therefore \\boxed{3} or rather \\boxed{4}.", "4"}, "the last box counts; math-verify wants all of them"},
      {{"\\boxed{5", "5"}, "a box that is never closed is text, and the last number counts"},
      {{"8+5=13,4+7+1=12,3+2+1=6;623", "623"}, "the last number stands alone; math-verify reads one long equation"},
  };
  size_t seen = 0;
  for (const auto& one : nlohmann::json::parse(testing::read_file(testing::fixture("parity/data/math/answers.json")))) {
    std::string completion = one[0], answer = one[1];
    bool equal = one[2], listed = disagreements.count({completion, answer}) > 0;
    seen += listed;
    EXPECT_EQ(correct(completion, answer), equal != listed)
        << completion << " | " << answer << " | found " << final_answer(completion);
  }
  EXPECT_EQ(seen, disagreements.size());
}

TEST(MathAnswer, TakesTheAnswerFromTheFirstPlaceThatHasOne) {
  const std::string all = "2+2=4 so the answer is 3.\n#### 2\n\\boxed{\\frac{1}{2}} or 9";
  EXPECT_EQ(final_answer(all), "\\frac{1}{2}");
  EXPECT_EQ(final_answer(all, "hashes"), " 2");
  EXPECT_EQ(final_answer(all, "phrase"), "3.");
  EXPECT_EQ(final_answer("2+2=4", "equals"), "4");
  EXPECT_EQ(final_answer(all, "number"), "9");
  EXPECT_EQ(final_answer("2+2=4", "boxed"), "");
  EXPECT_EQ(final_answer("nothing here"), "");
}

TEST(MathAnswer, TakesTheLastNumberWithItsSignSeparatorsAndPercent) {
  EXPECT_EQ(final_answer("8+5=13,4+7+1=12,3+2+1=6;623"), "623");
  EXPECT_EQ(final_answer("from 3 to -4."), "-4");
  EXPECT_EQ(final_answer("it is 10-4"), "4");
  EXPECT_EQ(final_answer("pays 1,234.50 dollars"), "1,234.50");
  EXPECT_EQ(final_answer("numbers 6,23"), "23");
  EXPECT_EQ(final_answer("about 3/4 of it"), "3/4");
  EXPECT_EQ(final_answer("some 15%, then"), "15%");
}

TEST(MathAnswer, ComparesValuesAndNotText) {
  EXPECT_TRUE(correct("\\boxed{3 1/2}", "3.5"));
  EXPECT_TRUE(correct("\\boxed{-2\\frac{1}{4}}", "-2.25"));
  EXPECT_TRUE(correct("\\boxed{2\\frac{\\sqrt{3}}{2}}", "\\sqrt{3}"));
  EXPECT_TRUE(correct("\\boxed{0.333333}", "1/3"));
  EXPECT_FALSE(correct("\\boxed{0.333}", "1/3"));
  EXPECT_TRUE(correct("\\boxed{(\\frac12, 2]}", "(0.5, 2]"));
  EXPECT_TRUE(correct("\\boxed{12\\text{ km/h}}", "12"));
  EXPECT_FALSE(correct("\\boxed{1000001}", "1000000"));
  EXPECT_FALSE(correct("\\boxed{123456789012345678901234567890}", "123456789012345678901234567891"));
  EXPECT_TRUE(correct("\\boxed{2^{70} - 2^{70} + 1}", "1"));
  EXPECT_FALSE(correct("\\boxed{2^{100}+1}", "2^{100}"));
  EXPECT_FALSE(correct("\\boxed{2x}", "2"));
  EXPECT_FALSE(correct("\\boxed{1e3}", "1"));
}

TEST(MathAnswer, ToleranceIsForInexactNumbersOnly) {
  EXPECT_EQ(score({"\\boxed{3.14}"}, {"\\pi"}, {.tolerance = 1e-2}).value.item<float>(), 1);
  EXPECT_EQ(score({"\\boxed{3.14}"}, {"\\pi"}).value.item<float>(), 0);
  EXPECT_EQ(score({"\\boxed{100}"}, {"101"}, {.tolerance = 0.5}).value.item<float>(), 0);
}

TEST(MathAnswer, GivesItsOwnRewardsForRightWrongAndNone) {
  auto rewards = score({"#### 4", "#### 5", "dunno"}, {"4", "4", "4"}, {.correct = 2, .incorrect = -0.5});
  EXPECT_TRUE(rewards.value.equal(at::tensor({2.0F, -0.5F, -0.5F}))) << rewards.value;
  ASSERT_EQ(rewards.components.size(), 1U);
  EXPECT_EQ(rewards.components[0].name, "math_answer");
}

std::string repeated(const std::string& part, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += part;
  return out;
}

TEST(MathAnswer, HostileTextIsWrongAndQuick) {
  const size_t kMany = 1'000'000;
  const std::vector<std::string> hostile = {
      std::string(kMany, '('),
      std::string(kMany, '{'),
      std::string(kMany, '$'),
      std::string(kMany, '='),
      std::string(kMany, '1'),
      std::string(kMany, '-') + "1",
      repeated("1,", kMany) + "1",
      "\\boxed{" + std::string(kMany, '(') + "}",
      "\\boxed{" + repeated("\\text{", kMany) + "}",
      repeated("\\boxed{", kMany),
      repeated("\\frac", kMany),
      repeated("answer is ", kMany),
      "answer is " + repeated("\\left$", kMany),
      repeated("####", kMany),
      "#### " + repeated("\\sqrt", kMany),
      "\\boxed{" + repeated("\\frac{1}{", 400) + "2" + std::string(400, '}') + "}",
      "\\boxed{" + std::string(2000, '(') + "1" + std::string(2000, ')') + "}",
      "\\boxed{" + repeated("\\text{", 500) + "1" + std::string(500, '}') + "}",
      "\\boxed{" + repeated("|", 3000) + "}",
      "\\boxed{" + repeated("2^", 1500) + "2}",
      "\\boxed{9^{9^{9^{9}}}}",
      "\\boxed{2^{999999999999}}",
      "\\boxed{2^{-999999999999}-1}",
      "\\boxed{" + std::string(4000, '9') + "}",
      "\\boxed{0." + std::string(4000, '9') + "1}",
      "\\boxed{(-1)^{0.5}}",
      "\\boxed{0^{-1}}",
      "\\boxed{\\sqrt[0]{2}}",
      "\\boxed{\\sqrt{-1}}",
      "\\boxed{170141183460469231731687303715884105727 * 170141183460469231731687303715884105727}",
      std::string("\\boxed{1\0007}", 11),
      std::string(1000, '\0'),
      "\\boxed{\xff\xfe\x80}",
      "#### \xf0\x28\x8c\xbc",
      repeated("\\boxed{1}{2", 1000)};
  for (const std::string answer : {"7", "x", "(1, 2)"}) {
    for (size_t i = 0; i < hostile.size(); ++i) {
      auto start = std::chrono::steady_clock::now();
      auto rewards = score({hostile[i]}, {answer});
      std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      EXPECT_LT(took.count(), 2) << "text " << i;
      EXPECT_EQ(rewards.value.item<float>(), 0) << "text " << i << " against " << answer;
      EXPECT_EQ(rewards.errors.at(0), "") << "text " << i;
    }
  }
}

TEST(MathAnswer, HostileExpectedAnswersAreWrongAndQuick) {
  EXPECT_FALSE(correct("#### 7", std::string(1'000'000, '{')));
  EXPECT_FALSE(correct("#### 7", repeated("\\frac", 700)));
  EXPECT_FALSE(correct("#### 7", ""));
  EXPECT_FALSE(correct("#### 7", std::string(100, '\0')));
}

TEST(MathAnswer, ALongTextIsSearchedToItsEnd) {
  EXPECT_TRUE(correct(repeated("Let us see. ", 100'000) + "\n#### 7", "7"));
  EXPECT_TRUE(correct(repeated("Let us see. ", 100'000) + "so 7", "7"));
}

TEST(MathAnswer, TheAnswerColumnIsNeeded) {
  EXPECT_EQ(MathAnswer({}).columns(), std::vector<std::string>{"answer"});
  EXPECT_EQ(MathAnswer({.column = "solution"}).columns(), std::vector<std::string>{"solution"});
}

}  // namespace
}  // namespace rft::math_answer_test
