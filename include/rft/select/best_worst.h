#pragma once
/// The best and the worst row of each group by reward, as a pair: what preference objectives learn from online (online
/// DPO, Guo et al. 2024, arXiv:2402.04792; D3PO, arXiv:2311.13231). The rows come as the objectives expect pairs: all
/// best ones first, row i + K the worst of row i's group; groups in the order in which they appear. Equal rewards: the
/// earlier row. Rows whose reward is NaN are left out; groups without two different rewards are dropped. Metrics:
/// select/kept (share of the rows), select/margin (mean difference of a pair's rewards).
#include "rft/core/options.h"
#include "rft/select/selector.h"

namespace rft {

class BestWorst : public Selector {
 public:
  struct Options {
    void visit(OptionVisitor&) {}
  };
  explicit BestWorst(Options) {}
  Needs needs() const override;
  Tensor select(const Experience& batch, Metrics& metrics) override;
  int64_t expected_rows(int64_t rows, int64_t group_size) const override;
};

}  // namespace rft
