#pragma once
#include <string>

#include "rft/core/options.h"
#include "rft/core/pattern.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// `reward` where the completion matches a Perl-compatible regular expression, else `otherwise`. A match that takes too
/// long (the match limit) could not be computed: NaN.
class RegexReward : public RewardModel {
 public:
  struct Options {
    std::string pattern;
    std::string match = "search";
    double reward = 1, otherwise = 0;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the pattern does not compile: the reason and the offset.
  explicit RegexReward(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  Options options_;
  Pattern pattern_;
};

}  // namespace rft
