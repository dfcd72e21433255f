/// math_answer against math-verify, and against hostile text.
#include "rft/reward/math_answer.h"

#include <ATen/ATen.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "reward/math_value.h"
#include "rft/core/extra.h"
#include "support.h"

namespace rft {
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
  const std::map<std::pair<std::string, std::string>, std::string> disagreements = {};
  size_t seen = 0;
  for (const auto& one : nlohmann::json::parse(testing::read_file(testing::fixture("parity/data/math/answers.json")))) {
    std::string completion = one[0], answer = one[1];
    bool equal = one[2], listed = disagreements.count({completion, answer}) > 0;
    seen += listed;
    EXPECT_EQ(correct(completion, answer), equal != listed) << completion << " | " << answer << " | found " << final_answer(completion);
  }
  EXPECT_EQ(seen, disagreements.size());
}

}  // namespace
}  // namespace rft
