#pragma once
/// Dynamic sampling (DAPO, Yu et al. 2025, arXiv:2503.14476): groups whose rewards are all equal teach nothing and are
/// dropped, and further rollouts are drawn in their place. A NaN reward counts as absent. Metric: select/kept (share of
/// the rows).
#include "rft/core/options.h"
#include "rft/select/selector.h"

namespace rft {

class DynamicSampling : public Selector {
 public:
  struct Options {
    int64_t max_rounds = 10;
    void visit(OptionVisitor& v);
  };
  explicit DynamicSampling(Options options) : options_(options) {}
  Needs needs() const override;
  Tensor select(const Experience& batch, Metrics& metrics) override;
  bool whole_groups() const override { return true; }
  int64_t extra_rollouts() const override { return options_.max_rounds - 1; }

 private:
  Options options_;
};

}  // namespace rft
