#pragma once
#include <memory>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// sum_k weight_k r_k over the rewards that could be computed (TRL's nansum); NaN where none could. A reward that
/// throws is NaN for all its rows, with its message in `errors`. A recipe's `reward:` list is one of these.
///
/// Where a reward gives a value to each decision [B, T] so does the sum: the others' stand at each row's last decision.
/// A row of which one decision is NaN is a row whose reward could not be computed. Components are the rows' sums [B].
/// Means other than the arithmetic take one value a row.
///
/// `mean: harmonic`: sum_k weight_k / sum_k (weight_k / r_k), which no one reward can raise alone (with two weights
/// lambda and 1 - lambda RPO's lambda-harmonic reward, Miao et al. 2024, arXiv:2407.12164). NaN where a reward that
/// weighs something is NaN or not above 0.
///
/// Ensembles of reward models that should agree (Coste et al. 2024, arXiv:2310.02743), of x_k = weight_k r_k: `mean:
/// worst_case`: min x_k; `mean: uncertainty_weighted`: mean x_k - uncertainty_weight var x_k (divided by K). NaN where
/// one could not be computed.
class WeightedSum : public RewardModel {
 public:
  struct Options {
    std::vector<Config> rewards;
    std::string mean = "arithmetic";
    double uncertainty_weight = 1;
    void visit(OptionVisitor& v);
  };
  /// Components are named by `name`, else by their type, with _2, _3 where a name comes again.
  explicit WeightedSum(const Options& options);

  Rewards score(const Experience& batch) override;
  bool per_row() const override;
  std::vector<std::string> columns() const override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  struct Part {
    std::string name;
    double weight;
    std::unique_ptr<RewardModel> model;
  };
  Rewards score_part(const Part& part, const Experience& batch) const;
  void combine_harmonic(Rewards& out) const;
  void combine_ensemble(Rewards& out) const;
  std::vector<Part> parts_;
  std::string mean_;
  double uncertainty_weight_;
};

}  // namespace rft
