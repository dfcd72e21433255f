#pragma once
#include <string>

#include "rft/core/options.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// `correct` where the completion's final answer equals the dataset's, else `incorrect`. The answer is taken from,
/// first found wins: the last \boxed{...}; what follows the last "####"; what follows the last "answer is" or
/// "answer:"; what follows the last "=" where that is an expression; the last number. Equal means equal in value:
/// fractions, decimals, LaTeX, percent, thousands separators, units left out, tuples, intervals, sets; words where
/// neither is a number.
class MathAnswer : public RewardModel {
 public:
  struct Options {
    std::string column = "answer";
    std::string extract = "auto";
    double correct = 1, incorrect = 0, tolerance = 1e-6;
    void visit(OptionVisitor& v);
  };
  explicit MathAnswer(Options options) : options_(std::move(options)) {}
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override { return {options_.column}; }

 private:
  Options options_;
};

/// The final answer in a completion by MathAnswer's rules; "" where there is none. `how` is
/// MathAnswer::Options::extract.
std::string final_answer(const std::string& completion, const std::string& how = "auto");

}  // namespace rft
