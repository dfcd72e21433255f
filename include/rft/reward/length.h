#pragma once
#include <optional>
#include <string>

#include "rft/core/options.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// Rewards by the completion's length L.
///   soft_overlong (DAPO, arXiv:2503.14476; TRL's get_soft_overlong_punishment): 0 up to max - cache, then falling
///   linearly
///                 to -1 at max, -1 beyond
///   target        -|L - target| / scale
///   linear        L / scale
class LengthReward : public RewardModel {
 public:
  struct Options {
    std::string form = "soft_overlong";
    std::string unit = "tokens";
    std::optional<int64_t> max, cache, target;
    double scale = 1;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the form's options are missing or contradict each other.
  explicit LengthReward(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  double value(double length) const;
  Options options_;
};

}  // namespace rft
