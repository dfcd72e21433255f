#pragma once
/// The best rows of each group by reward (RAFT, Dong et al. 2023, arXiv:2304.06767). Equal rewards: the earlier row. A
/// row whose reward is NaN is never kept. Metrics: select/kept (share of the rows), select/reward (mean of those kept).
#include <optional>

#include "rft/core/options.h"
#include "rft/select/selector.h"

namespace rft {

class BestOfN : public Selector {
 public:
  struct Options {
    int64_t keep = 1;
    std::optional<double> min_reward;
    void visit(OptionVisitor& v);
  };
  explicit BestOfN(Options options) : options_(options) {}
  Needs needs() const override;
  Tensor select(const Experience& batch, Metrics& metrics) override;
  int64_t expected_rows(int64_t rows, int64_t group_size) const override;

 private:
  Options options_;
};

}  // namespace rft
