#pragma once
/// Group-normalised advantages (GRPO, Shao et al. 2024, arXiv:2402.03300), as TRL 1.16's GRPOTrainer.
///
/// sum_then_normalize: A = (R - mean_group R) / (s + eps), s the sample standard deviation (n - 1) of the group, or of
/// all rows (scale batch), or no division (scale none, Dr. GRPO). normalize_then_sum (GDPO, arXiv:2601.05242): each
/// component k is normalised in its group, z_k = (r_k - mean) / (std + eps), R = sum_k weight_k z_k, and
/// A = (R - mean_all R) / (std_all R + eps). A NaN reward is left out of every statistic and gets A = 0, as do groups
/// of one row. The same advantage stands at every decision of a row.
/// `given` says how answers that the policy did not make (extra::given) count, over a group's own answers o and a given
/// one y: in_group as any row; smoothed (ViSurf, Liu et al. 2025, arXiv:2510.10606) r(y) = mean r(o) where
/// max r(o) >= r(y), so that a context which the policy answers as well teaches nothing by its gold answer; apart
/// A(y) = 0, and y is in no statistic (for objectives that learn from it by its likelihood alone).
/// shape_threshold t reshapes all rewards first (TempSamp-R1's non-linear soft advantage, Li et al. 2025,
/// arXiv:2509.18056): r >= t becomes t + shape_gain log(r - t + 1), below t - (e^(s (t - r)) - 1) / (e^s - 1), s =
/// shape_steepness, so that a gold answer's reward of 1 lies hardly above a good one's and far above a bad one's.
/// With `rescale` advantages are multiplied by (rows) / (rows of groups whose rewards differ), so that those which
/// teach nothing don't dilute the gradient (GPG, Chu et al. 2025, arXiv:2504.02546, with scale none).
#include <optional>
#include <string>

#include "rft/credit/credit.h"
#include "rft/credit/reward_options.h"
#include "rft/ops/groups.h"

namespace rft {

class GroupNormalized : public Credit {
 public:
  struct Options : RewardOptions {
    std::string scale = "group";
    std::string aggregation = "sum_then_normalize";
    double eps = 1e-4;
    bool rescale = false;
    std::string given = "in_group";
    std::optional<double> shape_threshold;
    double shape_gain = 0.01, shape_steepness = 1;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the options contradict each other.
  explicit GroupNormalized(Options options);
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  /// [B]: what is compared in the groups, NaN where a row is in no statistic.
  Tensor rewards(const Experience& batch, const ops::Groups& groups, Metrics& metrics) const;

  Options options_;
};

}  // namespace rft
