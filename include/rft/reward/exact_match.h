#pragma once
/// Whether the completion is, letter for letter, what the dataset says.
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// 1 where the completion equals the row's `column`, white space at both ends left out; else 0.
class ExactMatch : public RewardModel {
 public:
  struct Options {
    std::string column = "answer";
    void visit(OptionVisitor& v) { v.option("column", column, "the dataset's column with the right answer"); }
  };
  explicit ExactMatch(Options options) : options_(std::move(options)) {}
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override { return {options_.column}; }

 private:
  Options options_;
};

}  // namespace rft
