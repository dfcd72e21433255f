#pragma once
/// The groups, or the rows of each group, that teach most.
///   ranked_groups  of a rollout's groups the share `keep`, those of highest rank: by the variance of their rewards
///                  (variance-aware sampling, Leng et al. 2025, arXiv:2509.21268), or by hardness, the lowest mean
///                  reward among the groups that are not all alike
///   spread_rows    of each group the `keep` rows whose rewards vary most: so many of the best and so many of the worst
///                  (PODS, Xu et al. 2025, arXiv:2504.13818)
/// Ties: the earlier group or row. Rows whose reward is NaN are left out. Metrics: select/kept (share of the rows),
/// select/reward_std (deviation of the kept rows' rewards within their groups, mean over rows).
#include <string>

#include "rft/core/options.h"
#include "rft/select/selector.h"

namespace rft {

class RankedGroups : public Selector {
 public:
  struct Options {
    std::string by = "variance";
    double keep = 0.5;
    void visit(OptionVisitor& v);
  };
  explicit RankedGroups(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  Tensor select(const Experience& batch, Metrics& metrics) override;
  bool whole_groups() const override { return true; }
  int64_t expected_rows(int64_t rows, int64_t group_size) const override;

 private:
  Options options_;
};

class SpreadRows : public Selector {
 public:
  struct Options {
    int64_t keep = 4;
    void visit(OptionVisitor& v);
  };
  explicit SpreadRows(Options options) : options_(options) {}
  Needs needs() const override;
  Tensor select(const Experience& batch, Metrics& metrics) override;
  int64_t expected_rows(int64_t rows, int64_t group_size) const override;

 private:
  Options options_;
};

}  // namespace rft
