#pragma once
/// Every row of the rollout is learned from (`all`); or those that the policy made itself (`own_answers`), not the
/// reference's nor the dataset's (extra::given), which were there to be compared with. With given_below g the answers
/// of others stay in the groups whose own answers' mean reward is below g: the gate that switches imitation off where
/// the policy can do without (AHPO, Zhao et al. 2025, arXiv:2510.08540, of g = its number of successes over the group's
/// size, for rewards of 0 and 1); with `instead` these groups have no other rows (HPT, Lv et al. 2025,
/// arXiv:2509.04419: each context is learned from by reward or by imitation). NaN rewards are left out of the mean; a
/// group without any other counts as 0. Metrics: select/imitated, the share of the groups that keep others' answers.
#include <optional>

#include "rft/core/options.h"
#include "rft/select/selector.h"

namespace rft {

class SelectAll : public Selector {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit SelectAll(Options) {}
  Tensor select(const Experience& batch, Metrics& metrics) override;
  bool whole_groups() const override { return true; }
};

class OwnAnswers : public Selector {
 public:
  struct Options {
    std::optional<double> given_below;
    bool instead = false;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError for `instead` without given_below.
  explicit OwnAnswers(Options options);
  Needs needs() const override;
  Tensor select(const Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

}  // namespace rft
