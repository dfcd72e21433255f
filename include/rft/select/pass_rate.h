#pragma once
/// Groups that are neither too easy nor too hard: those whose mean reward lies in [min, max] (online difficulty
/// filtering, Bae et al. 2025, arXiv:2504.03380; with min just above 0 the filter of A*-PO, TRL's
/// filter_all_incorrect). The others are dropped, and further rollouts are drawn in their place, max_rounds in all. NaN
/// rewards are left out; a group without any other is dropped. Metrics: select/kept (share of the rows),
/// select/pass_rate (mean over groups).
#include "rft/core/options.h"
#include "rft/select/selector.h"

namespace rft {

class PassRate : public Selector {
 public:
  struct Options {
    double min = 0.2, max = 0.8;
    int64_t max_rounds = 1;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where min is above max.
  explicit PassRate(Options options);
  Needs needs() const override;
  Tensor select(const Experience& batch, Metrics& metrics) override;
  bool whole_groups() const override { return true; }
  int64_t extra_rollouts() const override { return options_.max_rounds - 1; }

 private:
  Options options_;
};

}  // namespace rft
