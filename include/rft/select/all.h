#pragma once
/// Every row of the rollout is learned from (`all`); or those that the policy made itself (`own_answers`), not the
/// reference's nor the dataset's (extra::given), which were there to be compared with.
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
};

class OwnAnswers : public Selector {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit OwnAnswers(Options) {}
  Tensor select(const Experience& batch, Metrics& metrics) override;
};

}  // namespace rft
