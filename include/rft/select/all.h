#pragma once
/// Every row of the rollout is learned from.
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

}  // namespace rft
