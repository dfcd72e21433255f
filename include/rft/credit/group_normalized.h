#pragma once
/// Group-normalised advantages (GRPO, Shao et al. 2024, arXiv:2402.03300), as TRL 1.16's GRPOTrainer.
///
/// sum_then_normalize: A = (R - mean_group R) / (s + eps), s the sample standard deviation (n - 1) of the group, or of
/// all rows (scale batch), or no division (scale none, Dr. GRPO). normalize_then_sum (GDPO, arXiv:2601.05242): each
/// component k is normalised in its group, z_k = (r_k - mean) / (std + eps), R = sum_k weight_k z_k, and
/// A = (R - mean_all R) / (std_all R + eps). A NaN reward is left out of every statistic and gets A = 0, as do groups
/// of one row. The same advantage stands at every decision of a row.
/// With `rescale` advantages are multiplied by (rows) / (rows of groups whose rewards differ), so that those which
/// teach nothing don't dilute the gradient (GPG, Chu et al. 2025, arXiv:2504.02546, with scale none).
#include <string>

#include "rft/credit/credit.h"
#include "rft/credit/reward_options.h"

namespace rft {

class GroupNormalized : public Credit {
 public:
  struct Options : RewardOptions {
    std::string scale = "group";
    std::string aggregation = "sum_then_normalize";
    double eps = 1e-4;
    bool rescale = false;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the options contradict each other.
  explicit GroupNormalized(Options options);
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

}  // namespace rft
